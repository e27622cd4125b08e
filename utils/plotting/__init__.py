"""Figures for the notebooks, and the gallery page."""
