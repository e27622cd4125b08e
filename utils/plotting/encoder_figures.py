"""Figures of what a CNN computes: receptive fields, class probabilities, activations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from utils.plotting.style import BLUE, LABEL_BOX, PAGE_WIDTH, make_panels


def show_receptive_fields(
    pixels: np.ndarray, center: tuple[float, float], sizes: Sequence[int]
) -> Any:
    """An image with squares around one point, each labeled with its side.

    Args:
        pixels: The image `(height, width, 3)`.
        center: Column and row of the point.
        sizes: The sides of the squares in pixels.
    """
    figure, (axis,) = make_panels(1, 1, size=3.6)
    axis.imshow(pixels)
    x, y = center
    for size in sizes:
        corner = (x - size / 2, y - size / 2)
        axis.add_patch(Rectangle(corner, size, size, fill=False, edgecolor="white", linewidth=3.5))
        axis.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=BLUE, linewidth=1.5))
    for size in sizes[-2:]:  # the inner squares have no space for a label
        label = f"{size} × {size}"
        axis.text(x, y + size / 2, label, ha="center", va="center", fontsize=10, bbox=LABEL_BOX)
    return figure


def show_top_classes(
    photos: Sequence[np.ndarray],
    names: Sequence[Sequence[str]],
    probabilities: Sequence[np.ndarray],
) -> Any:
    """A row per photo: on its right a bar for each of its most probable classes."""
    rows = len(photos)
    figure, axes = make_panels(2 * rows, 2, size=PAGE_WIDTH / 2)
    for photo, photo_names, values, row in zip(
        photos, names, probabilities, range(rows), strict=True
    ):
        photo_axis, bar_axis = axes[2 * row : 2 * row + 2]
        photo_axis.imshow(photo)
        positions = np.arange(len(values))[::-1]
        bar_axis.barh(positions, values, height=0.3, color=BLUE)
        for position, name, value in zip(positions, photo_names, values, strict=True):
            label = f"{name} {value:.2f}"
            bar_axis.text(0, position + 0.22, label, ha="left", va="bottom", fontsize=10)
        bar_axis.set(xlim=(0, 1), ylim=(-0.4, len(values) - 0.2))
    return figure


def show_activations(
    photos: Sequence[np.ndarray], feature_maps: Sequence[np.ndarray], columns: int = 4
) -> Any:
    """Photos in one row, and below each of them its map of one channel.

    All maps have the same color scale, from 0 or the lowest activation to the highest; bright is
    high.
    """
    count = min(columns, len(photos))
    figure, axes = make_panels(2 * count, count, size=PAGE_WIDTH / columns)
    lowest = min(0.0, float(np.min(feature_maps)))
    highest = float(np.max(feature_maps))
    for column in range(count):
        axes[column].imshow(photos[column])
        map_axis = axes[count + column]
        map_axis.imshow(feature_maps[column], cmap="cividis", vmin=lowest, vmax=highest)
    return figure
