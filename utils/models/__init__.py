"""Encoders, captioners, ensembles, fine-tuning, and how weights are saved and loaded."""
