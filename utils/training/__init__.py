"""Batches, loss, training step, loop and stages."""
