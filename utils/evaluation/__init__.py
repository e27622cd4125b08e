"""Metrics, baselines, confidence intervals, diversity and retrieval."""
