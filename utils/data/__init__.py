"""Photos, captions, splits and tokens."""
