"""The style of all figures: colors, fonts, size, thumbnails, and a grid of panels.

Colors are chosen so that people with color blindness can tell them apart; the white background of
each figure keeps it legible in a dark theme. No figure is wider than `PAGE_WIDTH`, so that its text
is legible on a phone.
"""

import io
import math
import textwrap
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine

from utils.data.images import open_image
from utils.errors import os_errors_as_caption_errors
from utils.plotting.fonts import use_fallback_fonts, warn_about_missing_characters

BLUE = "#0072b2"
ORANGE = "#d55e00"
INK = "#22313f"
GRAY = "#8a94a0"
PAGE_WIDTH = 5.4  # inches; on a page of 390 pixels, the default font of 11 points is 11 pixels high
CHARACTERS_PER_INCH = 11.5  # of the default font
CREDIT_SIZE = 9  # points, of the credit of a photo
CREDIT_LINE_HEIGHT = 0.16  # inches
JPEG_QUALITY = 80
MISSING_SHADE = 220  # of the square in place of a photo that is missing
# Behind text that crosses lines.
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}

plt.style.use(Path(__file__).with_name("notebooks.mplstyle"))
use_fallback_fonts()


class PhotoFigure(Figure):
    """A figure of photos, which a notebook displays as JPEG: as PNG it is five times as large."""

    def _ipython_display_(self) -> None:
        from IPython.display import Image, display

        display(Image(encode_jpeg(self), format="jpeg"))


def make_page(height: float) -> PhotoFigure:
    """An empty figure of the width of a page, on which everything is placed by hand.

    Args:
        height: Inches.
    """
    # `layout="none"` would be lost when the figure is saved a second time.
    by_hand = PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True)
    figure = plt.figure(figsize=(PAGE_WIDTH, height), FigureClass=PhotoFigure, layout=by_hand)
    assert isinstance(figure, PhotoFigure)
    return figure


def encode_jpeg(figure: Figure) -> bytes:
    """A figure as a JPEG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": JPEG_QUALITY, "optimize": True})
    return buffer.getvalue()


@os_errors_as_caption_errors()
def load_thumbnail(path: Any, size: int = 224) -> np.ndarray:
    """A photo in its own proportions, `(height, width, 3)` in 0..255, at most `size` per side.

    A missing photo, whose path is None, is a gray square.
    """
    if path is None:
        return np.full((size, size, 3), MISSING_SHADE, np.uint8)
    photo = open_image(path, size)
    photo.thumbnail((size, size))
    return np.asarray(photo)


def wrap_text(text: str, width: int = 34) -> str:
    """Text in lines of at most `width` characters."""
    warn_about_missing_characters(text)
    return "\n".join(textwrap.wrap(text, width)) or " "


def count_lines(text: str) -> int:
    """The number of lines of a text."""
    return text.count("\n") + 1


def make_panels(
    count: int, columns: int, size: float = PAGE_WIDTH, text_height: float = 0.0
) -> tuple[Any, list[Any]]:
    """A figure of photos: a grid of axes without ticks.

    Args:
        count: The number of axes; the rest of the last row is hidden.
        columns: At most so many per row.
        size: Inches per panel, at most; a row is not wider than `PAGE_WIDTH`.
        text_height: Inches for the text around each panel.

    Returns:
        The figure and its axes.
    """
    columns = max(1, min(columns, count))
    size = min(size, PAGE_WIDTH / columns)
    rows = max(1, math.ceil(count / columns))
    figure_size = (size * columns, (size + text_height) * rows)
    figure, axes = plt.subplots(
        rows, columns, figsize=figure_size, squeeze=False, FigureClass=PhotoFigure
    )
    for number, axis in enumerate(axes.flat):
        if number >= count:
            axis.set_axis_off()
        else:
            axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure, list(axes.flat[:count])
