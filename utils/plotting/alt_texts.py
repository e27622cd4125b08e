"""A figure of photos with what a captioner says of them, and how sure it is of that.

It is as wide as the screen of a telephone, and is saved as JPEG: as PNG, a figure of many photos
would be five times as large.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from utils.evaluation.word_categories import WORD_CATEGORIES
from utils.plotting.style import BLUE, INK, count_lines, load_thumbnail, wrap_text

VERMILION = "#c04f00"
DARK_GRAY = "#5b6570"  # legible in small type
# For each verdict of `describe_confidence` what the figure calls it, and its color.
VERDICTS = {
    "assert": ("asserted", BLUE),
    "hedge": ("hedged", VERMILION),
    "none": ("no confident description", DARK_GRAY),
}
# Words of English captions that name nothing that has a place in the image.
FUNCTION_WORDS = """
    a an the and or of in on at to by with from for into onto over under through across along near
    next around behind between above below against front back side top it its his her their he she
    they him them who that which this there is are be being has have as while out up down off some
    other another each small little large big long young old
"""
# Inches; at a width of 390 pixels, 1 point of a font is 1.3 pixels.
WIDTH = 4.1
MARGIN = 0.05
PANELS = 3  # in a row: the photo and two words
PANEL_WIDTH = WIDTH / PANELS - 2 * MARGIN
MAX_PANEL_HEIGHT = 1.35
LINE_HEIGHT = 0.18
CREDIT_LINE_HEIGHT = 0.135
GAP = 0.16  # between two cards
TEXT_SIZE = 9.5  # points
CREDIT_SIZE = 7.5
TEXT_LENGTH = 52  # characters in a line
CREDIT_LENGTH = 68
THUMBNAIL = 256
JPEG_DPI = 120
JPEG_QUALITY = 80


class AltTextCard(NamedTuple):
    """A photo as the figure shows it.

    Attributes:
        photo: The path.
        text: What the captioner says of it.
        verdict: What `describe_confidence` returns.
        confidence: From 0 to 1.
        attention_weights: For each shown word its weights `(cells,)`.
        credit: Title, creator and license.
    """

    photo: Any
    text: str
    verdict: str
    confidence: float
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
    without_place = set(FUNCTION_WORDS.split())
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
    figure = plt.figure(figsize=(WIDTH, total_height), layout="none")
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
        figure.text(MARGIN / WIDTH, y, words, va="top", linespacing=1.1, **style)

    label, color = VERDICTS[card.verdict]
    verdict = f"{label} · confidence {card.confidence:.0%}"
    write(verdict, 0, color=color, fontsize=TEXT_SIZE, fontweight="bold")
    text_color = DARK_GRAY if card.verdict == "none" else INK
    write(layout.lines, LINE_HEIGHT, color=text_color, fontsize=TEXT_SIZE)

    panels = {"": layout.pixels}
    for word, weights in card.attention_weights.items():
        panels[word] = overlay_attention(layout.pixels, weights)
    panel_bottom = top - layout.panel_top - layout.panel_height
    for column, (word, panel) in enumerate(panels.items()):
        left = column * WIDTH / PANELS + MARGIN
        width = PANEL_WIDTH / WIDTH
        height = layout.panel_height / figure_height
        axis = figure.add_axes((left / WIDTH, panel_bottom / figure_height, width, height))
        axis.imshow(panel)
        axis.set_axis_off()
        axis.set_anchor("NW")
        axis.set_title(word, fontsize=TEXT_SIZE, pad=3)
    credit_distance = layout.panel_top + layout.panel_height + MARGIN
    write(layout.credit, credit_distance, color=DARK_GRAY, fontsize=CREDIT_SIZE)


def overlay_attention(pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A photo in pale gray under a heatmap, which is yellow to dark red by attention weight.

    Args:
        pixels: `(height, width, 3)`, 0 to 255.
        weights: `(cells,)` of a square grid; they are scaled to their maximum.
    """
    side = round(len(weights) ** 0.5)
    height, width = pixels.shape[:2]
    scaled = (255 * weights / weights.max()).astype(np.uint8).reshape(side, side)
    smooth = Image.fromarray(scaled).resize((width, height), Image.Resampling.BICUBIC)
    heat = np.asarray(smooth) / 255
    colors = 255 * plt.get_cmap("YlOrRd")(heat)[..., :3]
    gray = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    pale = 255 - 0.45 * (255 - gray)
    opacity = 0.15 + 0.6 * heat[..., None]
    return (pale * (1 - opacity) + colors * opacity).astype(np.uint8)


def to_jpeg(figure: Any) -> bytes:
    """A figure as a JPEG file; the figure is closed, so that the notebook does not repeat it."""
    buffer = io.BytesIO()
    options = {"quality": JPEG_QUALITY, "optimize": True}
    figure.savefig(buffer, format="jpeg", dpi=JPEG_DPI, pil_kwargs=options)
    plt.close(figure)
    return buffer.getvalue()
