"""Attention weights over a photo: a heatmap that covers only what a word depends on.

The photo itself is never darkened or recolored where the weights are low. A contour line with a
white halo surrounds the cells of high weight, so that they stand out on light, dark, and colorful
photos. Diffuse weights get no contour: a line around most of a photo points at nothing.
"""

from typing import Any

import matplotlib.patheffects as path_effects
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

# Perceptually uniform: equal steps of weight look like equal steps of color. Its dark colors are
# left out: they would darken the photo.
COLORMAP = "plasma"
MAX_OPACITY = 0.75
CONTOUR_LEVEL = 0.5  # of the largest weight
DIFFUSE_FRACTION = 0.25  # of the cells: if half of the weight needs more, it is diffuse
CONTOUR_COLOR = "#9c1f63"


def is_diffuse(weights: np.ndarray) -> bool:
    """Whether half of all weight needs more than `DIFFUSE_FRACTION` of the cells.

    Args:
        weights: `(cells,)`, with sum 1.
    """
    descending = np.sort(np.asarray(weights, np.float32))[::-1]
    spread = np.count_nonzero(descending.cumsum() < descending.sum() / 2) + 1
    return bool(spread > DIFFUSE_FRACTION * len(descending))


def upsample(weights: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The weights of grid cells as a smooth map, scaled so that the largest weight is 1.

    Args:
        weights: `(cells,)` of a square grid.
        size: Height and width of the map.

    Returns:
        `(height, width)`, from 0 to 1.
    """
    side = round(len(weights) ** 0.5)
    grid = np.asarray(weights, np.float32).reshape(side, side)
    scaled = Image.fromarray(grid / max(float(grid.max()), 1e-12))
    smooth = np.asarray(scaled.resize(size[::-1], Image.Resampling.BICUBIC))
    return np.clip(smooth, 0, 1)


def overlay_attention(pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A photo under a heatmap whose opacity is proportional to the attention weight.

    Args:
        pixels: `(height, width, 3)`, 0 to 255.
        weights: `(cells,)` of a square grid; they are scaled to their maximum.
    """
    heat = upsample(weights, pixels.shape[:2])
    colors = 255 * plt.get_cmap(COLORMAP)(0.4 + 0.6 * heat)[..., :3]
    opacity = MAX_OPACITY * heat[..., None]
    return (pixels * (1 - opacity) + colors * opacity).astype(np.uint8)


def draw_attention(axis: Any, pixels: np.ndarray, weights: np.ndarray) -> None:
    """Draw `overlay_attention`, and a contour line where the weight is half of the largest one.

    Diffuse weights have no contour line.
    """
    axis.imshow(overlay_attention(pixels, weights))
    heat = upsample(weights, pixels.shape[:2])
    if heat.min() < CONTOUR_LEVEL and not is_diffuse(weights):
        contour = axis.contour(heat, [CONTOUR_LEVEL], colors=CONTOUR_COLOR, linewidths=1.5)
        contour.set_path_effects([path_effects.withStroke(linewidth=3.5, foreground="white")])
