"""The exponents of growth curves, and the tables of them for SPEED.md."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.benchmarks.curves import CURVES
from tests.json_lines import Row
from tests.page import markdown_table

KILOBYTES = 1024
MIN_POINTS = 3  # for an exponent


class Line(NamedTuple):
    """A cost that is shown as a row of a table and a line of the figure.

    Attributes:
        curve: The name of its curve.
        cost: Its name among the costs of a point.
        label: What it is, for the reader.
        has_fixed_part: Whether a part of the cost does not depend on the size.
    """

    curve: str
    cost: str
    label: str
    has_fixed_part: bool = False


PHOTO_LINES = (
    Line("find", "find", "finding photos"),
    Line("text", "text", "vocabulary, token IDs"),
    Line("epoch", "epoch", "an epoch, 16 units"),
    Line("search", "search", "search by a sentence"),
    Line("scores", "references", "counting references"),
    Line("scores", "CIDEr-D", "CIDEr-D"),
    Line("scores", "BLEU", "BLEU"),
    Line("scores", "ROUGE-L", "ROUGE-L"),
)
RETRIEVAL_LINES = (Line("retrieval", "retrieval", "all captions, all photos"),)
CAPTION_LINES = (
    Line("captions", "training step", "training step", has_fixed_part=True),
    Line("captions", "text", "vocabulary, token IDs"),
    Line("captions", "scores", "all scores"),
)
VOCABULARY_LINES = (
    Line("vocabulary", "training step", "training step", has_fixed_part=True),
    Line("vocabulary", "greedy search", "greedy search", has_fixed_part=True),
)
BEAM_LINES = (Line("beam", "search", "beam search", has_fixed_part=True),)
# The parts of the table of exponents: what grows, and the costs.
SECTIONS = {
    "photos": PHOTO_LINES,
    "photos and captions": RETRIEVAL_LINES,
    "captions per photo": CAPTION_LINES,
    "vocabulary": VOCABULARY_LINES,
    "beam width": BEAM_LINES,
}
MEMORY_LABELS = {
    "find": "finding photos",
    "text": "vocabulary, token IDs",
    "epoch": "an epoch, 16 units",
    "scores": "all scores",
}


# === Fits ===


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Fit cost = a * size^b by least squares of the logarithms; returns a and b."""
    exponent, intercept = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(np.exp(intercept)), float(exponent)


def upper_half(values: Sequence[float]) -> Sequence[float]:
    """The larger half of the points of a curve, at least two."""
    return values[len(values) // 2 if len(values) > 2 else 0 :]


def fit_fixed_part(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Fit cost = fixed + slope * size by least squares of relative errors.

    Returns:
        The fixed part, which can be negative where there is none, and the slope.
    """
    sizes = np.asarray(sizes, float)
    costs = np.asarray(costs, float)
    terms = np.stack([np.ones_like(sizes), sizes], axis=1) / costs[:, None]
    (fixed, slope), *_ = np.linalg.lstsq(terms, np.ones_like(costs), rcond=None)
    return float(fixed), float(slope)


# === Points ===


def line_points(points: list[Row], line: Line) -> tuple[list[int], list[float]]:
    """The sizes and the CPU seconds of a line, in the order of the sizes."""
    own = [point for point in points if point["curve"] == line.curve]
    own.sort(key=lambda point: point["size"])
    sizes = [point["size"] for point in own]
    return sizes, [point["CPU seconds"][line.cost] for point in own]


def memory_points(points: list[Row], curve: str) -> tuple[list[int], list[float]]:
    """The sizes and the peaks of anonymous memory, in MB, of a curve."""
    own = [point for point in points if point["curve"] == curve]
    own.sort(key=lambda point: point["size"])
    return [point["size"] for point in own], [point["anonymous MB"] for point in own]


# === Tables ===


def growth_section(points: list[Row]) -> str:
    """The tables of the exponents and of the memory, and what is not measured yet."""
    machines = sorted({point["machine"] for point in points})
    parts = [
        f"Measured on {' and '.join(machines)}, by processes with one thread each, while other "
        "work ran on the machine.",
        exponent_table(points),
        "Peak of anonymous memory in the same processes:",
        memory_table(points),
    ]
    if missing := missing_points(points):
        what = "; ".join(f"`{name}` for {sizes}" for name, sizes in missing.items())
        parts.append(
            f"Not measured yet: {what}. An exponent needs {MIN_POINTS} points. "
            "`python -m tests.benchmarks.curves` measures what is missing."
        )
    return "\n\n".join(parts)


def missing_points(points: list[Row]) -> dict[str, str]:
    """The sizes that are not measured yet, for each curve that lacks some."""
    known = {(point["curve"], point["size"]) for point in points}
    missing = {}
    for name, curve in CURVES.items():
        sizes = [f"{size:,}" for size in curve.sizes if (name, size) not in known]
        if sizes:
            missing[name] = ", ".join(sizes)
    return missing


def exponent_table(points: list[Row]) -> str:
    """A row for each cost: from the smallest to the largest size, and the exponents."""
    header = ["grows with", "cost", "sizes", "CPU seconds", "exponent", "upper half", "fixed part"]
    rows = []
    for what, lines in SECTIONS.items():
        for line in lines:
            sizes, costs = line_points(points, line)
            if len(sizes) >= MIN_POINTS:
                rows.append([what, line.label, *exponent_cells(sizes, costs, line)])
    return markdown_table(header, rows, 5)


def exponent_cells(sizes: list[int], costs: list[float], line: Line) -> list[str]:
    """The cells of a row that are computed from the points."""
    _, exponent = fit_exponent(sizes, costs)
    _, exponent_above = fit_exponent(upper_half(sizes), upper_half(costs))
    fixed = ""
    if line.has_fixed_part:
        fixed_part, _ = fit_fixed_part(sizes, costs)
        fixed = f"{format_number(max(0.0, fixed_part))} s"
    return [
        f"{sizes[0]:,} to {sizes[-1]:,}",
        f"{format_number(costs[0])} to {format_number(costs[-1])}",
        f"{exponent:.2f}",
        f"{exponent_above:.2f}",
        fixed,
    ]


def memory_table(points: list[Row]) -> str:
    """A row for each process: its memory, the fixed part, and what each photo adds."""
    header = ["process", "photos", "MB", "fixed part", "per photo"]
    rows = []
    for curve, label in MEMORY_LABELS.items():
        sizes, megabytes = memory_points(points, curve)
        if len(sizes) < MIN_POINTS:
            continue
        fixed, per_photo = fit_fixed_part(sizes, megabytes)
        rows.append(
            [
                label,
                f"{sizes[0]:,} to {sizes[-1]:,}",
                f"{megabytes[0]:,.0f} to {megabytes[-1]:,.0f}",
                f"{max(0.0, fixed):.0f} MB",
                f"{KILOBYTES * per_photo:.1f} KB",
            ]
        )
    return markdown_table(header, rows, 4)


def format_number(value: float) -> str:
    """A number with two significant digits, or all digits before the point."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{float(f'{value:.2g}'):g}"
