"""The figure of the growth curves: small multiples with logarithmic axes."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from tests.benchmarks.curve_tables import (
    BEAM_LINES,
    CAPTION_LINES,
    MEMORY_LABELS,
    MIN_POINTS,
    PHOTO_LINES,
    RETRIEVAL_LINES,
    VOCABULARY_LINES,
    Line,
    fit_exponent,
    line_points,
    memory_points,
)
from tests.benchmarks.curves import POINTS
from tests.json_lines import Row
from utils.plotting.style import GRAY, PAGE_WIDTH

FIGURE = POINTS.with_suffix(".png")
DPI = 160
SMALL_FONT = 9
MARKERS = "os^D"
PANELS: tuple[tuple[str, str, tuple[Line, ...]], ...] = (
    ("Data and training", "photos", PHOTO_LINES[:4]),
    ("Scores", "photos", PHOTO_LINES[4:]),
    ("Captions per photo", "captions", CAPTION_LINES),
    ("Vocabulary", "tokens", VOCABULARY_LINES),
    ("Beam width", "beams", BEAM_LINES),
    ("Retrieval", "photos and captions", RETRIEVAL_LINES),
)


def draw(points: list[Row], path: Path = FIGURE) -> None:
    """Draw all panels into a file, which carries a fingerprint of the points.

    With it a test can tell whether the file is up to date without drawing it again, which differs
    between releases of Matplotlib.
    """
    figure = plot_curves(points)
    figure.savefig(path, dpi=DPI, metadata={"Description": fingerprint(points)})
    plt.close(figure)


def fingerprint(points: list[Row]) -> str:
    """A fingerprint of the points."""
    return hashlib.sha256(json.dumps(points, sort_keys=True).encode()).hexdigest()


def plot_curves(points: list[Row]) -> Any:
    """A panel for each group of costs, then one for memory; a dashed line grows linearly."""
    rows = (len(PANELS) + 2) // 2
    figure, axes = plt.subplots(rows, 2, figsize=(PAGE_WIDTH, 2.75 * rows))
    panels = iter(axes.flat)
    for (title, xlabel, lines), axis in zip(PANELS, panels, strict=False):
        for number, line in enumerate(lines):
            plot_line(axis, *line_points(points, line), line.label, number)
        finish_panel(axis, f"{title}, CPU s", xlabel)
    memory_axis = axes.flat[len(PANELS)]
    for number, (curve, label) in enumerate(MEMORY_LABELS.items()):
        plot_line(memory_axis, *memory_points(points, curve), label, number, has_exponent=False)
    finish_panel(memory_axis, "Memory, MB", "photos")
    for axis in axes.flat[len(PANELS) + 1 :]:
        axis.set_axis_off()
    return figure


def plot_line(
    axis: Any,
    sizes: Sequence[int],
    values: Sequence[float],
    label: str,
    number: int,
    has_exponent: bool = True,
) -> None:
    """The points of one cost, joined, and its exponent in the legend."""
    if not sizes:
        return
    if has_exponent and len(sizes) >= MIN_POINTS:
        label = f"{label}: {fit_exponent(sizes, values)[1]:.2f}"
    axis.loglog(sizes, values, f"{MARKERS[number]}-", markersize=4, label=label)


def finish_panel(axis: Any, title: str, xlabel: str) -> None:
    """Add linear growth for comparison, the ticks, and a legend above the data."""
    if not axis.lines:  # nothing is measured yet
        axis.set_axis_off()
        return
    sizes, values = axis.lines[0].get_data()
    axis.plot(sizes, values[0] * np.array(sizes) / sizes[0], "--", color=GRAY, zorder=0)
    axis.set_title(title, fontsize=11)
    axis.set_xlabel(xlabel, fontsize=SMALL_FONT + 1)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axis.xaxis.set_major_locator(LogLocator(numticks=6))
    axis.yaxis.set_major_locator(LogLocator(numticks=5))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(labelsize=SMALL_FONT)
    # Space for the legend above the curves; on logarithmic axes it is a power of the range.
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** 0.75)
    axis.legend(loc="upper left", fontsize=SMALL_FONT, borderaxespad=0.1, handlelength=1.2)


def short_number(value: float) -> str:
    """A number in few characters, such as `10k`."""
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
