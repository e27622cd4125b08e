"""A figure of photos with what a captioner says of them, and how sure it is of that.

A card per photo, one below the other, so that a phone shows them as large as a desktop.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from utils.evaluation.word_categories import FUNCTION_WORDS, WORD_CATEGORIES
from utils.plotting.attention import draw_attention
from utils.plotting.style import (
    BLUE,
    CREDIT_LINE_HEIGHT,
    CREDIT_SIZE,
    INK,
    PAGE_WIDTH,
    count_lines,
    load_thumbnail,
    make_page,
    wrap_text,
)

VERMILION = "#c04f00"
DARK_GRAY = "#5b6570"  # legible in small type
# For each verdict of `describe_confidence` what the figure calls it, and its color.
VERDICTS = {
    "assert": ("stated", BLUE),
    "hedge": ("hedged", VERMILION),
    "none": ("no confident description", DARK_GRAY),
}
# Inches.
MARGIN = 0.06
PANELS = 3  # in a row: the photo and two words
PANEL_WIDTH = PAGE_WIDTH / PANELS - 2 * MARGIN
MAX_PANEL_HEIGHT = 1.7
LINE_HEIGHT = 0.21
GAP = 0.2  # between two cards
TEXT_LENGTH = 58  # characters in a line
CREDIT_LENGTH = 70
THUMBNAIL = 256


class AltTextCard(NamedTuple):
    """A photo as the figure shows it.

    Attributes:
        photo: The path.
        text: What the captioner says of it.
        verdict: What `describe_confidence` returns.
        confidence: From 0 to 1, or None if it is unknown.
        attention_weights: For each shown word its weights `(cells,)`.
        credit: Title, creator and license.
    """

    photo: Any
    text: str
    verdict: str
    confidence: float | None
    attention_weights: Mapping[str, np.ndarray]
    credit: str


def choose_words(
    tokens: Sequence[str], word_to_id: Mapping[str, int], count: int = PANELS - 1
) -> list[int]:
    """The positions of the rarest content words of a caption, in their order.

    Rare words say most about a photo. Function words, sizes, actions and numbers are left out,
    because their attention shows no place in the image; this knows only English words.

    Args:
        tokens: The caption.
        word_to_id: The vocabulary, by falling frequency.
        count: How many words.
    """
    without_place = set(FUNCTION_WORDS)
    for category in ("actions", "numbers"):
        for words in WORD_CATEGORIES[category]:
            without_place.update(words.split())
    first_positions: dict[str, int] = {}
    for position, token in enumerate(tokens):
        if token not in without_place:
            first_positions.setdefault(token, position)
    by_rarity = sorted(first_positions, key=lambda token: word_to_id.get(token, 0), reverse=True)
    return sorted(first_positions[token] for token in by_rarity[:count])


def show_alt_texts(cards: Sequence[AltTextCard]) -> Any:
    """A card per photo, one below the other: verdict, text, photo, attention maps and credit."""
    layouts = [lay_out(card) for card in cards]
    total_height = sum(layout.height for layout in layouts)
    figure = make_page(total_height)
    top = total_height
    for card, layout in zip(cards, layouts, strict=True):
        draw_card(figure, card, layout, top)
        top -= layout.height
    return figure


class Layout(NamedTuple):
    """The lines of a card, its pixels, and its heights in inches."""

    lines: str
    credit: str
    pixels: np.ndarray
    panel_height: float
    panel_top: float  # below the top of the card
    height: float


def lay_out(card: AltTextCard) -> Layout:
    """Break the lines of a card, and find the heights of its parts."""
    lines = wrap_text(card.text, TEXT_LENGTH)
    credit = wrap_text(card.credit, CREDIT_LENGTH)
    pixels = load_thumbnail(card.photo, THUMBNAIL)
    panel_height = min(MAX_PANEL_HEIGHT, PANEL_WIDTH * pixels.shape[0] / pixels.shape[1])
    # The verdict, the text, and the words above the panels.
    panel_top = (2 + count_lines(lines)) * LINE_HEIGHT + MARGIN
    credit_height = MARGIN + count_lines(credit) * CREDIT_LINE_HEIGHT
    height = panel_top + panel_height + credit_height + GAP
    return Layout(lines, credit, pixels, panel_height, panel_top, height)


def draw_card(figure: Any, card: AltTextCard, layout: Layout, top: float) -> None:
    """Draw one card; its upper edge is `top` inches above the bottom of the figure."""
    figure_height = figure.get_figheight()

    def write(words: str, distance: float, **style: Any) -> None:
        y = (top - distance) / figure_height
        figure.text(MARGIN / PAGE_WIDTH, y, words, va="top", linespacing=1.1, **style)

    label, color = VERDICTS[card.verdict]
    confidence = "unknown" if card.confidence is None else f"{card.confidence:.0%}"
    verdict = f"{label} · confidence {confidence}"
    write(verdict, 0, color=color, fontweight="bold")
    text_color = DARK_GRAY if card.verdict == "none" else INK
    write(layout.lines, LINE_HEIGHT, color=text_color)

    panels = {"": None, **card.attention_weights}
    panel_bottom = top - layout.panel_top - layout.panel_height
    for column, (word, weights) in enumerate(panels.items()):
        left = column * PAGE_WIDTH / PANELS + MARGIN
        width = PANEL_WIDTH / PAGE_WIDTH
        height = layout.panel_height / figure_height
        axis = figure.add_axes((left / PAGE_WIDTH, panel_bottom / figure_height, width, height))
        if weights is None:
            axis.imshow(layout.pixels)
        else:
            draw_attention(axis, layout.pixels, weights)
        axis.set_axis_off()
        axis.set_anchor("NW")
        axis.set_title(word, pad=3)
    credit_distance = layout.panel_top + layout.panel_height + MARGIN
    write(layout.credit, credit_distance, color=DARK_GRAY, fontsize=CREDIT_SIZE)
