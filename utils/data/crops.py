"""Random resized crops of photos, for data augmentation."""

import math
from collections.abc import Sequence

import numpy as np

from utils.data.images import Cropped, Photo

MIN_AREA = 0.6  # fraction of the photo
MAX_ASPECT = 4 / 3  # and at least its inverse; relative to the photo's own proportions
SEED = 1  # the crops are the same for every seed of a training, so they are extracted once

Box = tuple[float, float, float, float]  # left, top, right and bottom, as fractions of the photo


def random_crops(photos: Sequence[Photo], crops: int) -> list[Cropped]:
    """Random crops of photos: the first crop of every photo, then the second, and so on."""
    rng = np.random.default_rng(SEED)
    return [Cropped(photo, random_box(rng)) for _ in range(crops) for photo in photos]


def random_box(rng: np.random.Generator) -> Box:
    """A random part of a photo."""
    while True:
        area = rng.uniform(MIN_AREA, 1)
        aspect = math.exp(rng.uniform(-math.log(MAX_ASPECT), math.log(MAX_ASPECT)))
        width = math.sqrt(area * aspect)
        height = math.sqrt(area / aspect)
        if width <= 1 and height <= 1:
            left = rng.uniform(0, 1 - width)
            top = rng.uniform(0, 1 - height)
            return left, top, min(1, left + width), min(1, top + height)
