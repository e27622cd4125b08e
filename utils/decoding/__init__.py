"""Captions from a captioner: greedy search, beam search and sampling."""
