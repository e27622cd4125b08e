"""The drawn sample: scenes with known facts, their images and captions, and a CNN for them."""
