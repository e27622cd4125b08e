"""Figures of photos: with titles, captions, feature maps and attention weights. No TensorFlow."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.plotting.attention import draw_attention, is_diffuse
from utils.plotting.style import (
    BLUE,
    CHARACTERS_PER_INCH,
    PAGE_WIDTH,
    count_lines,
    load_thumbnail,
    make_page,
    make_panels,
    wrap_text,
)

THUMBNAIL = 300  # pixels
PHOTO_WIDTH = 1.9  # inches, of a photo beside text, with the space around it
ROW_MARGIN = 0.08
LINE_HEIGHT = 0.19  # inches, of the default font


def show_photos(
    paths: Sequence[Any], titles: Sequence[str] = (), columns: int = 2, size: float = 2.7
) -> Any:
    """Photos in a grid, each with its title below."""
    titles = titles or [""] * len(paths)
    columns = min(columns, max(1, len(paths)))
    line_length = int(min(size, PAGE_WIDTH / columns) * CHARACTERS_PER_INCH)
    lines = [wrap_text(title, line_length) for title in titles]
    text_height = 0.0
    if any(titles):
        text_height = 0.1 + LINE_HEIGHT * max(count_lines(text) for text in lines)
    figure, axes = make_panels(len(paths), columns, size, text_height)
    for axis, path, text in zip(axes, paths, lines, strict=True):
        axis.imshow(load_thumbnail(path, THUMBNAIL))
        axis.set_xlabel(text)
    return figure


def show_feature_maps(
    pixels: np.ndarray, feature_maps: Sequence[np.ndarray], titles: Sequence[str], columns: int = 3
) -> Any:
    """An image and some feature maps; bright where the activation is high."""
    count = len(feature_maps) + 1
    figure, (image_axis, *map_axes) = make_panels(count, columns, text_height=0.25)
    image_axis.imshow(pixels)
    image_axis.set_title("input", fontsize=11)
    for axis, feature_map, title in zip(map_axes, feature_maps, titles, strict=True):
        axis.imshow(feature_map, cmap="cividis")
        axis.set_title(title, fontsize=11)
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
) -> Any:
    """A row per photo: on its right the generated caption, all references, and a note."""
    line_length = int((PAGE_WIDTH - PHOTO_WIDTH) * CHARACTERS_PER_INCH)
    blocks = []
    for caption, photo_references, note in zip(captions, references, notes, strict=True):
        title = wrap_text(caption, int(0.88 * line_length))  # bold letters are wider
        lines = [wrap_text(f"– {text}", line_length) for text in photo_references]
        if note:
            lines += ["", *(wrap_text(line, line_length) for line in note.splitlines())]
        blocks.append((title, "\n".join(lines)))
    heights = []
    for title, text in blocks:
        text_height = LINE_HEIGHT * (count_lines(title) + count_lines(text) + 1)
        heights.append(max(PHOTO_WIDTH, text_height))
    figure = make_page(sum(heights))
    top = sum(heights)
    for path, block, height in zip(paths, blocks, heights, strict=True):
        draw_captioned(figure, path, block, top)
        top -= height
    return figure


def draw_captioned(figure: Any, path: Any, block: tuple[str, str], top: float) -> None:
    """Draw one photo and the text on its right.

    Args:
        figure: The figure.
        path: The photo.
        block: The caption, and the lines below it.
        top: Inches from the bottom of the figure to the top of the row.
    """
    total_height = figure.get_figheight()
    size = PHOTO_WIDTH - ROW_MARGIN
    left, bottom = 0, (top - ROW_MARGIN - size) / total_height
    axis = figure.add_axes((left, bottom, size / PAGE_WIDTH, size / total_height))
    axis.imshow(load_thumbnail(path, THUMBNAIL))
    axis.set_axis_off()
    axis.set_anchor("NW")
    title, text = block
    x = PHOTO_WIDTH / PAGE_WIDTH
    y = (top - ROW_MARGIN) / total_height
    style = {"va": "top", "linespacing": 1.15}
    figure.text(x, y, title, color=BLUE, fontweight="bold", **style)
    y -= (count_lines(title) + 0.3) * LINE_HEIGHT / total_height
    figure.text(x, y, text, **style)


def show_attention(
    pixels: np.ndarray, words: Sequence[str], attention_weights: np.ndarray, columns: int = 3
) -> Any:
    """The image, then once per token under a heatmap of its attention weights.

    Args:
        pixels: The image `(height, width, 3)`.
        words: The tokens of the caption.
        attention_weights: `(tokens, cells)`.
        columns: Panels per row.
    """
    count = len(words) + 1
    figure, (image_axis, *axes) = make_panels(count, columns, text_height=0.25)
    image_axis.imshow(pixels)
    for axis, word, weights in zip(axes, words, attention_weights, strict=False):
        draw_attention(axis, pixels, weights)
        axis.set_title(f"{word} (diffuse)" if is_diffuse(weights) else word)
    return figure
