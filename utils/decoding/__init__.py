"""From logits to captions."""
