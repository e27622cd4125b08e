"""Photos, captions files, splits and the tokenizer."""
