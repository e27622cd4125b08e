"""Diagrams: a padded batch, the architecture of a captioner, and beam search as a tree."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from utils.plotting.fonts import warn_about_missing_characters
from utils.plotting.style import BLUE, GRAY, INK, LABEL_BOX, PAGE_WIDTH

Prefix = tuple[int, ...]  # token IDs, BOS first
Node = tuple[float, float, float]  # of a tree: column, row and log-probability
Box = tuple  # column, row, shape, names of the boxes that it gets its input from

LIGHT_BLUE = "#d6e8f4"
LIGHT_GRAY = "#eceef0"
CELL_FONT_SIZE = 9.5
MAX_HORIZONTAL = 9  # columns: with more of them, tokens are written upwards
CELL_TEXT = 6.7  # characters of a token that fit into a cell in this size; a longer one is smaller
MAX_CELL_TEXT = 9  # characters of a token in a cell


def plot_padded_batch(token_ids: np.ndarray, mask: np.ndarray, vocabulary: Sequence[str]) -> Any:
    """A padded batch above its mask: a cell for each token, gray where the mask is 0.

    Args:
        token_ids: `(batch, time)`.
        mask: 1 for a token, 0 for padding, `(batch, time)`.
        vocabulary: The token of each ID.
    """
    rows, columns = token_ids.shape
    tokens = [[shorten_token(vocabulary[token_id]) for token_id in row] for row in token_ids]
    digits = [[str(int(value)) for value in row] for row in mask]
    rotation = 90 if columns > MAX_HORIZONTAL else 0
    token_height = 0.8 if rotation else 0.4
    figure, axes = plt.subplots(
        2,
        1,
        figsize=(PAGE_WIDTH, (token_height + 0.4) * rows + 0.8),
        height_ratios=(token_height, 0.4),
    )
    for axis, title, texts in zip(axes, ("batch", "mask"), (tokens, digits), strict=True):
        for row, column in np.ndindex(rows, columns):
            color = LIGHT_BLUE if mask[row, column] else LIGHT_GRAY
            cell = plt.Rectangle((column, row), 1, 1, facecolor=color, edgecolor="white")
            axis.add_patch(cell)
            text = texts[row][column]
            size = CELL_FONT_SIZE * min(1, CELL_TEXT / max(1, len(text)))
            style = {"ha": "center", "va": "center", "fontsize": size}
            if texts is tokens:
                style["rotation"] = rotation
            axis.text(column + 0.5, row + 0.5, text, **style)
        axis.set(xlim=(0, columns), ylim=(rows, 0), title=f"{title}, {rows} × {columns}")
        axis.set_axis_off()
    return figure


def shorten_token(token: str) -> str:
    """A token that fits into a cell."""
    warn_about_missing_characters(token)
    return token if len(token) <= MAX_CELL_TEXT else token[: MAX_CELL_TEXT - 1] + "…"


def plot_beam_tree(
    steps: Sequence[tuple[Sequence[Any], Sequence[Any]]], winner: Prefix, vocabulary: Sequence[str]
) -> Any:
    """Beam search as a tree with one column per step; beams that were kept are blue.

    Beside each line stands the probability of the token, given the tokens before it.

    Args:
        steps: For each step the expanded beams, the best one first, and those that were kept. A
            beam has `token_ids` and `log_prob`.
        winner: The best caption; a thick line leads to it.
        vocabulary: The token of each ID.
    """
    height = max(len(expanded) for expanded, _ in steps)
    figure, axis = plt.subplots(figsize=(1.4 * len(steps) + 1.1, 0.36 * height))
    nodes: dict[Prefix, Node] = {winner[:1]: (0.0, 0.0, 0.0)}  # the first is BOS
    for column, (expanded, kept) in enumerate(steps, 1):
        kept_ids = {beam.token_ids for beam in kept}
        # Sorted by the row of the beam before, so that no lines cross.
        new_beams = [beam for beam in expanded if len(beam.token_ids) == column + 1]
        new_beams.sort(key=lambda beam: nodes[beam.token_ids[:-1]][1], reverse=True)
        first_row = (len(new_beams) - 1) / 2  # columns are centered
        for row, beam in enumerate(new_beams):
            node = (float(column), first_row - row, beam.log_prob)
            nodes[beam.token_ids] = node
            line_width = 3 if beam.token_ids == winner[: column + 1] else 1
            is_kept = beam.token_ids in kept_ids
            draw_branch(axis, nodes[beam.token_ids[:-1]], node, line_width, is_kept)
    for prefix, (x, y, _) in nodes.items():
        token = vocabulary[prefix[-1]]
        axis.text(x, y, token, ha="center", va="center", bbox=LABEL_BOX, zorder=3)
    axis.set(xlim=(-0.35, len(steps) + 0.4), ylim=(-height / 2, height / 2))
    axis.set_axis_off()
    figure.set_layout_engine("none")
    axis.set_position((0, 0, 1, 1))
    return figure


def draw_branch(axis: Any, parent: Node, child: Node, line_width: float, is_kept: bool) -> None:
    """A line from a beam to its continuation, with the probability of the added token."""
    color = BLUE if is_kept else GRAY
    axis.plot(
        [parent[0], child[0]], [parent[1], child[1]], color=color, linewidth=line_width, zorder=0
    )
    probability = math.exp(child[2] - parent[2])
    share = 0.62  # of the way from parent to child
    axis.text(
        parent[0] + share * (child[0] - parent[0]),
        parent[1] + share * (child[1] - parent[1]),
        f"{probability:.2f}",
        ha="center",
        va="center",
        fontsize="small",
        color=color,
        bbox={**LABEL_BOX, "pad": 0.5},
        zorder=2,
    )


def plot_architecture(boxes: dict[str, Box]) -> Any:
    """The layers of a model with the shapes of their outputs, and arrows between them.

    Args:
        boxes: name -> (column, row, shape, *names of the boxes before it).
    """
    columns = 1 + max(box[0] for box in boxes.values())
    rows = 1 + max(box[1] for box in boxes.values())
    figure, axis = plt.subplots(figsize=(1.8 * columns, 0.8 * rows))
    frame = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": BLUE}
    drawn = {}
    for name, (column, row, shape, *inputs) in boxes.items():
        sizes = " × ".join(f"{size:,}" for size in shape)
        text = axis.text(
            column, -row, f"{name}\n{sizes}", ha="center", va="center", fontsize=10, bbox=frame
        )
        drawn[name] = text
        for source in inputs:
            draw_arrow(axis, drawn[source], text)
    axis.set(xlim=(-0.6, columns - 0.4), ylim=(0.5 - rows, 0.5))
    axis.set_axis_off()
    return figure


def draw_arrow(axis: Any, source: Any, target: Any) -> None:
    """An arrow from the frame of one text to that of another."""
    arrow = {
        "arrowstyle": "-|>",
        "color": INK,
        "shrinkA": 0,
        "shrinkB": 0,
        "patchA": source.get_bbox_patch(),
        "patchB": target.get_bbox_patch(),
    }
    axis.annotate("", target.get_position(), source.get_position(), arrowprops=arrow)
