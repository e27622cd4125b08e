"""The names of the 1,000 classes that encoders with ImageNet weights were trained on.

ImageNet names its classes by WordNet's noun synsets; the number of a class is its position in the
order of the synsets' IDs (Russakovsky et al. 2015, https://arxiv.org/abs/1409.0575).
"""

from pathlib import Path

CLASSES_FILE = Path(__file__).with_name("imagenet_classes.txt")
# Named here, so that a notebook that is packed with the classes also contains their license.
LICENSE_FILE = Path(__file__).with_name("imagenet_classes_license.txt")


def class_names() -> list[str]:
    """The name of each class, in the order of the logits; a few classes share a name."""
    return CLASSES_FILE.read_text(encoding="utf-8").splitlines()
