"""Metrics, baselines and significance."""
