"""The section "Against public examples" of SPEED.md, made of `peers.json`."""

import json
from pathlib import Path
from typing import Any

from tests.page import SPEED_PAGE, markdown_table, replace_section

RESULTS = Path(__file__).with_name("peers.json")
BUDGETS = (10, 20, 30)  # CPU minutes of training
TOLERANCE = 1.0  # CPU minutes by which the last batch may exceed a budget
EPOCH_PHOTOS = 6000  # the training photos of Flickr8k
CHECKPOINT_KEYS = ("CPU minutes", "batches", "budgets")  # all other keys are ways of decoding

Result = dict[str, Any]


def read_results() -> dict[str, Result]:
    """The results by the name of the captioner; none where there is no file."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def write_section() -> None:
    """Write the tables into SPEED.md."""
    replace_section("peers", section(read_results()), SPEED_PAGE)


def section(results: dict[str, Result]) -> str:
    """The machine, the costs and, where captioners have been trained long enough, the scores."""
    if not results:
        return "Not measured yet."
    machines = sorted({result["machine"] for result in results.values()})
    parts = [f"Measured on {'; '.join(machines)}; one thread.", cost_table(results)]
    trained = {name: result for name, result in results.items() if result.get("checkpoints")}
    if trained:
        parts.append(score_table(trained))
    return "\n\n".join(parts)


# === Costs ===


def cost_table(results: dict[str, Result]) -> str:
    """What each captioner costs."""
    header = [
        "captioner",
        "parameters",
        "CPU minutes per epoch",
        "CPU ms per decoding step",
        "matrix product, ms",
    ]
    rows = [cost_row(name, result) for name, result in results.items()]
    return markdown_table(header, rows, len(header) - 1)


def cost_row(name: str, result: Result) -> list[str]:
    """One captioner as a row of the table."""
    title = f"[{name}]({result['url']})" if result["url"] else name
    epoch_minutes = result["CPU ms per training photo"] * EPOCH_PHOTOS / 60_000
    speeds = result["matrix product, CPU ms"]
    return [
        title,
        f"{result['parameters'] / 1e6:.1f} M",
        f"{epoch_minutes:.0f}",
        f"{result['CPU ms per step']:.0f}",
        f"{sum(speeds) / len(speeds):.0f}",
    ]


# === Scores ===


def score_table(results: dict[str, Result]) -> str:
    """CIDEr-D of each captioner and way of decoding after each budget."""
    header = ["captioner", "decoding", *(f"{budget} CPU minutes" for budget in BUDGETS)]
    rows = []
    for name, result in results.items():
        for way in result["checkpoints"][0]:
            if way not in CHECKPOINT_KEYS:
                scores = [score_within(result, budget, way) for budget in BUDGETS]
                cells = ["-" if score is None else f"{score:.3f}" for score in scores]
                rows.append([name, way, *cells])
    return markdown_table(header, rows, len(BUDGETS))


def score_within(result: Result, budget: float, way: str) -> float | None:
    """The score of the last checkpoint within a budget; None where there is none."""
    scores = [
        each[way]
        for each in result["checkpoints"]
        if each["CPU minutes"] <= budget + TOLERANCE and way in each
    ]
    return scores[-1] if scores else None
