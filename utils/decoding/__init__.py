"""From logits to captions: greedy search, beam search and sampling."""
