"""Random resized crops of the training photos, as further views of them.

The features of each crop and of its mirror image, below the encoder's split layer, are one further
grid in the folder of the photos' features.
"""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.ablation.photo_data import PhotoData
from utils import feature_grids
from utils.data.images import Cropped, Mirrored
from utils.features import BATCH_SIZE, extract_features
from utils.models.encoders import build_encoder
from utils.models.fine_tuning import split_encoder

MIN_AREA = 0.6  # fraction of the photo
MAX_ASPECT = 4 / 3  # and at least its inverse; relative to the photo's own proportions
SEED = 1  # of the crops, which all runs share

Box = tuple[float, float, float, float]


class JoinedGrids:
    """Two grids whose rows are read as if the second followed the first in one array."""

    def __init__(self, first: np.ndarray, second: np.ndarray):
        self.first = first
        self.second = second
        self.shape = (len(first) + len(second), *first.shape[1:])
        self.nbytes = first.nbytes + second.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        is_first = rows < len(self.first)
        features = np.empty((len(rows), *self.shape[1:]), self.first.dtype)
        features[is_first] = self.first[rows[is_first]]
        features[~is_first] = self.second[rows[~is_first] - len(self.first)]
        return features

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.concatenate([self.first, self.second]).astype(dtype or self.first.dtype)


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


def load_or_extract_crops(data: PhotoData, crops: int) -> np.ndarray:
    """The backbone features of random crops of the training photos.

    An interrupted extraction is continued.

    Args:
        data: The photos.
        crops: Number of crops per photo.

    Returns:
        The first crop of every training photo, then the second, and so on; then the mirror images
        of all crops in the same order.
    """
    rng = np.random.default_rng(SEED)
    paths = [data.photos.paths[name] for name in data.names("train")]
    views: list[Any] = []
    for _ in range(crops):
        views.extend(Cropped(path, random_box(rng)) for path in paths)
    # The name must contain all that affects the values.
    backbone_features = data.backbone_features()
    parts = [(view.photo.name, view.box) for view in views]
    digest = hashlib.sha256(repr((backbone_features["grid"], parts)).encode()).hexdigest()
    views.extend([Mirrored(crop) for crop in views])
    crop_features = {
        "grid": f"crop_features-{crops}-{digest[:16]}.npy",
        "grid_shape": [len(views), *backbone_features["grid_shape"][1:]],
    }

    def batches(done: int) -> Iterator[np.ndarray]:
        backbone, _ = split_encoder(build_encoder(data.config.encoder))
        return extract_features(views[done:], backbone, "crops", BATCH_SIZE)

    feature_grids.save_grid(crop_features, batches, BATCH_SIZE, data.config)
    return feature_grids.load_grid(crop_features, data.config)


def add_crops(
    views: np.ndarray, grid: np.ndarray, crop_grid: np.ndarray, train_rows: np.ndarray
) -> tuple[np.ndarray, JoinedGrids]:
    """Add the crops of each photo to its views.

    Args:
        views: Rows of the grid, `(photos, views)`; the first view is the photo as it is.
        grid: Backbone features of the views.
        crop_grid: What `load_or_extract_crops` returns.
        train_rows: The rows of the training photos in the grid, in the order of their crops.

    Returns:
        Rows of the joined grids, `(photos, views + crops)`, and these grids.
    """
    position_of = {row: position for position, row in enumerate(train_rows)}
    positions = np.array([position_of[row] for row in views[:, 0]])
    first_rows = np.arange(len(grid), len(grid) + len(crop_grid), len(train_rows))
    crop_rows = positions[:, None] + first_rows
    return np.concatenate([views, crop_rows], axis=1), JoinedGrids(grid, crop_grid)
