"""Ablation: configurations trained on photos, and one JSON line of results for each."""
