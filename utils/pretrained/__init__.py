"""A captioner that is trained already, in one file, and its model card."""

from pathlib import Path

PRETRAINED = "pretrained"  # the value of the setting `start_from` that means this captioner
PRETRAINED_FILE = Path(__file__).with_name("captioner.npz")
MODEL_CARD = Path(__file__).with_name("MODEL_CARD.md")
