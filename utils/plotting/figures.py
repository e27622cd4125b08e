"""Figures of photos: with titles, captions, feature maps and attention weights. No TensorFlow."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from utils.plotting.style import BLUE, count_lines, load_thumbnail, make_panels, wrap_text

POINTS_PER_INCH = 72


def show_photos(
    paths: Sequence[Any], titles: Sequence[str] = (), columns: int = 4, size: float = 2.1
) -> Any:
    """Photos in a grid, each with its title below."""
    titles = titles or [""] * len(paths)
    text_height = 0.0
    if any(titles):
        text_height = 0.25 * max(count_lines(wrap_text(title)) for title in titles)
    figure, axes = make_panels(len(paths), columns, size, text_height)
    for axis, path, title in zip(axes, paths, titles, strict=True):
        axis.imshow(load_thumbnail(path))
        axis.set_xlabel(wrap_text(title), fontsize=9)
    return figure


def show_feature_maps(
    pixels: np.ndarray, feature_maps: Sequence[np.ndarray], titles: Sequence[str]
) -> Any:
    """An image and some feature maps; bright where the activation is high."""
    count = len(feature_maps) + 1
    figure, (image_axis, *map_axes) = make_panels(count, count, size=2.0)
    image_axis.imshow(pixels)
    image_axis.set_title("input")
    for axis, feature_map, title in zip(map_axes, feature_maps, titles, strict=True):
        axis.imshow(feature_map, cmap="cividis")
        axis.set_title(title)
    return figure


def show_grid_cells(pixels: np.ndarray, side: int) -> Any:
    """An image with the grid of cells that the CNN encodes."""
    figure, (axis,) = make_panels(1, 1, size=3.2)
    axis.imshow(pixels)
    for line in np.arange(1, side) * pixels.shape[0] / side:
        axis.axhline(line, color="white", linewidth=0.8)
        axis.axvline(line, color="white", linewidth=0.8)
    axis.set_title(f"{side} × {side} grid cells")
    return figure


def show_captioned(
    paths: Sequence[Any],
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    notes: Sequence[str],
    columns: int = 3,
    shown_references: int = 2,
) -> Any:
    """Photos with the generated caption above, and some references and a note below."""
    titles = [wrap_text(caption, 24) for caption in captions]
    labels = []
    for photo_references, note in zip(references, notes, strict=True):
        lines = [wrap_text(f"– {text}", 33) for text in photo_references[:shown_references]]
        labels.append("\n".join([*lines, note]))
    title_lines = max(count_lines(title) for title in titles)
    label_lines = max(count_lines(label) for label in labels)
    # Titles have a font of 10 points and labels one of 8, with some space between lines.
    text_height = (14 * title_lines + 12 * label_lines) / POINTS_PER_INCH
    figure, axes = make_panels(len(paths), columns, size=2.1, text_height=text_height)
    for axis, path, title, label in zip(axes, paths, titles, labels, strict=True):
        axis.imshow(load_thumbnail(path))
        axis.set_title(title, loc="center", fontsize=10, color=BLUE, fontweight="bold")
        axis.set_xlabel(label, fontsize=8)
    return figure


def show_attention(
    pixels: np.ndarray, words: Sequence[str], attention_weights: np.ndarray, columns: int = 5
) -> Any:
    """The image, then once per token, bright where its attention weights are high.

    Args:
        pixels: The image `(height, width, 3)`.
        words: The tokens of the caption.
        attention_weights: `(tokens, cells)`.
        columns: Panels per row.
    """
    side = round(attention_weights.shape[-1] ** 0.5)
    height, width = pixels.shape[:2]
    figure, (image_axis, *axes) = make_panels(len(words) + 1, columns, size=1.15, text_height=0.25)
    image_axis.imshow(pixels)
    dark = 0.35 * np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    for axis, word, weights in zip(axes, words, attention_weights, strict=False):
        scaled = (255 * weights / weights.max()).astype(np.uint8).reshape(side, side)
        overlay = Image.fromarray(scaled).resize((width, height), Image.Resampling.BICUBIC)
        brightness = np.asarray(overlay)[..., None] / 255
        axis.imshow((dark + (pixels - dark) * brightness).astype(np.uint8))
        axis.set_title(word, fontsize=10)
    return figure
