"""Batches, loss, training step, training loop and stages."""
