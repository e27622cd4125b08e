"""One figure of the whole pipeline: photo, feature maps, attention of each word, caption.

A column per example, so that a drawn scene and a photograph can be compared.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from utils.plotting.attention import draw_attention
from utils.plotting.style import (
    BLUE,
    CHARACTERS_PER_INCH,
    CREDIT_LINE_HEIGHT,
    CREDIT_SIZE,
    INK,
    PAGE_WIDTH,
    count_lines,
    make_page,
    wrap_text,
)

MAPS = 3  # feature maps in a row
CANDIDATES = 64  # channels among which they are chosen
MIN_VARIANCE = 0.01  # of a candidate, relative to the highest variance
WORDS = 4  # attention maps, in two rows
MARGIN = 0.08  # inches
LINE = 0.19
LABEL = 0.3  # height of the label above a part


class OverviewExample(NamedTuple):
    """One column of the figure.

    Attributes:
        title: Which captioner describes the photo, at most 26 characters.
        pixels: The photo, `(height, width, 3)`.
        features: What the encoder computes of it, `(cells, channels)`.
        attention_weights: For each shown word its weights `(cells,)`.
        caption: The generated caption.
        credit: Of the photo.
    """

    title: str
    pixels: np.ndarray
    features: np.ndarray
    attention_weights: Mapping[str, np.ndarray]
    caption: str
    credit: str


def choose_channels(features: np.ndarray, count: int = MAPS) -> list[int]:
    """Channels that vary over the image and differ from each other.

    The first has the highest variance. Each further one is, of the `CANDIDATES` with the highest
    variance, the one least correlated with those chosen before.

    Args:
        features: `(cells, channels)`.
        count: How many; fewer, if fewer vary.
    """
    variances = features.var(axis=0)
    candidates = np.argsort(-variances, kind="stable")[:CANDIDATES]
    # A constant channel is uncorrelated with all others, but shows nothing.
    candidates = candidates[variances[candidates] >= MIN_VARIANCE * variances.max()]
    centered = features[:, candidates] - features[:, candidates].mean(axis=0)
    norms = np.linalg.norm(centered, axis=0)
    normalized = centered / np.maximum(norms, 1e-12)
    correlations = np.abs(normalized.T @ normalized)
    chosen = [0]
    while len(chosen) < min(count, len(candidates)):
        similarity = correlations[:, chosen].max(axis=1)
        similarity[chosen] = np.inf
        chosen.append(int(similarity.argmin()))
    return [int(candidates[position]) for position in chosen]


def show_overview(examples: Sequence[OverviewExample]) -> Any:
    """The examples side by side; each part has a label that names what computes it."""
    column_width = PAGE_WIDTH / max(2, len(examples))
    size = column_width - 2 * MARGIN
    line_length = int(size * CHARACTERS_PER_INCH)
    text_lines = 1
    for example in examples:
        caption = wrap_text(example.caption, line_length)
        text_lines = max(text_lines, count_lines(caption))
    credit_lines = max(count_lines(wrap_credit(example, size)) for example in examples)
    heights = {
        "title": 1.2 * LINE + MARGIN,
        "photo": size * 0.75 + MARGIN,
        "features": LABEL + size / MAPS,
        "attention": LABEL + 2 * (size / 2 * 0.75 + 1.5 * LINE),
        "caption": LABEL + (text_lines + 0.5) * LINE,
        "credit": credit_lines * CREDIT_LINE_HEIGHT + MARGIN,
    }
    figure = make_page(sum(heights.values()))
    for number, example in enumerate(examples):
        column = Column(figure, number * column_width + MARGIN, size)
        draw_example(column, example, heights)
    return figure


class Column:
    """Places axes and text in one column; all lengths are inches, `top` is from the top edge."""

    def __init__(self, figure: Any, left: float, width: float):
        """Place everything from `left` on."""
        self.figure = figure
        self.left = left
        self.width = width

    def axis(self, left: float, top: float, width: float, height: float) -> Any:
        """An axis without ticks, in whose upper left corner the image is."""
        total = self.figure.get_figheight()
        bounds = (
            (self.left + left) / PAGE_WIDTH,
            1 - (top + height) / total,
            width / PAGE_WIDTH,
            height / total,
        )
        axis = self.figure.add_axes(bounds)
        axis.set_axis_off()
        axis.set_anchor("NW")
        return axis

    def text(self, top: float, text: str, left: float = 0.0, **style: Any) -> None:
        """A text whose first line begins at `top`."""
        total = self.figure.get_figheight()
        x = (self.left + left) / PAGE_WIDTH
        style = {"va": "top", "linespacing": 1.15, "color": INK, **style}
        self.figure.text(x, 1 - top / total, text, **style)


def draw_example(column: Column, example: OverviewExample, heights: Mapping[str, float]) -> None:
    """Draw one column, from top to bottom."""
    line_length = int(column.width * CHARACTERS_PER_INCH)
    column.text(0, example.title, fontweight="bold")
    top = heights["title"]
    photo_axis = column.axis(0, top, column.width, heights["photo"] - MARGIN)
    photo_axis.imshow(example.pixels)
    top += heights["photo"]
    draw_feature_maps(column, example.features, top)
    top += heights["features"]
    draw_words(column, example, top)
    top += heights["attention"]
    draw_label(column, top, "caption")
    caption = wrap_text(example.caption, int(0.88 * line_length))
    column.text(top + LABEL, caption, color=BLUE, fontweight="bold")
    top += heights["caption"]
    column.text(top, wrap_credit(example, column.width), fontsize=CREDIT_SIZE)


def draw_label(column: Column, top: float, text: str) -> None:
    """The name of a part, after an arrow from the part above."""
    column.text(top + 0.05, f"↓ {text}")


def draw_feature_maps(column: Column, features: np.ndarray, top: float) -> None:
    """Some channels of the features, bright where the activation is high."""
    side = round(len(features) ** 0.5)
    draw_label(column, top, f"{features.shape[1]:,} feature maps")
    width = column.width / MAPS
    for number, channel in enumerate(choose_channels(features)):
        axis = column.axis(number * width, top + LABEL, width - MARGIN, width - MARGIN)
        axis.imshow(features[:, channel].reshape(side, side), cmap="cividis")


def draw_words(column: Column, example: OverviewExample, top: float) -> None:
    """The photo under the attention weights of each word, two words in a row."""
    draw_label(column, top, "attention, word by word")
    width = column.width / 2
    height = width * 0.75
    for number, (word, weights) in enumerate(example.attention_weights.items()):
        row, side = divmod(number, 2)
        left = side * width
        row_top = top + LABEL + row * (height + 1.5 * LINE)
        column.text(row_top + LINE, word, left, va="baseline")
        axis = column.axis(left, row_top + 1.3 * LINE, width - MARGIN, height)
        draw_attention(axis, example.pixels, weights)


def wrap_credit(example: OverviewExample, width: float) -> str:
    """The credit in lines of the small font."""
    return wrap_text(example.credit, int(width * CHARACTERS_PER_INCH * 1.15))
