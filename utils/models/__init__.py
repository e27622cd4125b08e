"""Encoders, caption decoders, and what is built of them."""
