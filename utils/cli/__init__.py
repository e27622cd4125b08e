"""The commands of `python -m utils`."""
