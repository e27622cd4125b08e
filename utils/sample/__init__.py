"""The drawn sample: scenes with known facts, their pictures and captions."""
