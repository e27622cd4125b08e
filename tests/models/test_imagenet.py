"""The names of ImageNet's classes."""

from collections import Counter

import pytest

from utils.models.efficientnet_lite import CLASSES
from utils.models.imagenet import class_names

# The first and the last class, and those of the photos in test_efficientnet_lite.py.
KNOWN = {0: "tench", 285: "Egyptian cat", 698: "palace", 967: "espresso", 999: "toilet tissue"}


@pytest.mark.parametrize("number", KNOWN)
def test_known_classes_have_their_numbers(number):
    assert class_names()[number] == KNOWN[number]


def test_there_is_a_name_for_each_logit():
    names = class_names()
    assert len(names) == CLASSES
    assert all(name == name.strip() != "" for name in names)
    # WordNet has two cranes, the bird and the machine, and two maillots, tights and a swimsuit.
    repeated = {name for name, count in Counter(names).items() if count > 1}
    assert repeated == {"crane", "maillot"}
