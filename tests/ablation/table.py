"""The table and the figure of the results page, from the file of results."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.ablation.runs import PROTOCOL, RUNS, SHORT
from tests.page import markdown_table
from utils.evaluation.bootstrap import paired_bootstrap
from utils.plotting.charts import plot_bars

CURRENT_INPUT = "whole photo, 288"  # what the encoder is given today
FIRST_INPUT = "center crop, 224"  # what it was given in the first runs; not repeatable any more
RESULTS = Path(__file__).with_name("results.jsonl")
FIGURE = RESULTS.with_suffix(".png")
BOOTSTRAP_SAMPLES = 2000
COLUMNS = [
    "run",
    "what is different",
    "CIDEr-D",
    "compared with",
    "difference",
    "p",
    "BLEU-4",
    "ROUGE-L",
    "greedy",
    "beam 5",
    "CPU minutes",
]
NUMBER_COLUMNS = 9

Row = dict[str, Any]
Key = tuple[str, int, str]  # run, seed, encoder input


def read_results() -> dict[Key, Row]:
    """The lines of the file of results, by run, seed and input of the encoder."""
    results = {}
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    for line in lines:
        row = json.loads(line)
        results[row["run"], row["seed"], row["pixels"]] = row
    return results


def is_short(name: str) -> bool:
    """Whether a run has only the epochs of `SHORT`."""
    return RUNS[name].get("epochs") == SHORT["epochs"]


def baseline_of(name: str) -> str:
    """The run that another is compared with: the one it continues, or the unchanged preset."""
    run = RUNS[name]
    if "after" in run:
        return run["after"]
    if "ensemble_of" in run:
        return run["ensemble_of"]
    return "six epochs" if is_short(name) else "frozen"


def find_baseline(row: Row, results: dict[Key, Row]) -> Row | None:
    """The result that a row is compared with, if there is one."""
    name = baseline_of(row["run"])
    pixels = row["pixels"]
    if name == row["run"] and pixels != FIRST_INPUT:
        pixels = FIRST_INPUT  # the preset itself is compared with the earlier input
    baseline = results.get((name, row["seed"], pixels))
    return None if baseline is row else baseline


def compare(row: Row, baseline: Row) -> tuple[str, str]:
    """The difference of two runs on the same photos with its 95 % interval, and the p-value."""
    scores = np.array(row["photos"])  # whole numbers: thousandths
    baseline_scores = np.array(baseline["photos"])
    count = len(scores)
    rng = np.random.RandomState(1)
    weights = rng.multinomial(count, np.full(count, 1 / count), BOOTSTRAP_SAMPLES)
    # Sums of whole numbers are exact, so the table is the same on every machine.
    sums = weights @ scores
    baseline_sums = weights @ baseline_scores
    low, high, p_value = paired_bootstrap(sums, baseline_sums)
    low, difference, high = np.array([low, (scores - baseline_scores).sum(), high]) / 1000 / count
    return f"{difference:+.3f} ({low:+.3f} to {high:+.3f})", f"{p_value:.3f}"


def table_row(row: Row, results: dict[Key, Row]) -> list[str]:
    """A run as a row of the table, cell by cell."""
    scores = row["scores"]
    best = scores[PROTOCOL]
    low, high = row["interval"]
    changes = ", ".join(f"{key} {value}" for key, value in RUNS[row["run"]].items())
    baseline = find_baseline(row, results)
    baseline_name = difference = p_value = ""
    if baseline:
        baseline_name = baseline["run"]
        if baseline["pixels"] != row["pixels"]:
            baseline_name += f", {baseline['pixels']}"
        difference, p_value = compare(row, baseline)
    return [
        run_label(row),
        changes or "the preset's first stage",
        f"**{best['CIDEr-D']:.3f}** ({low:.3f} to {high:.3f})",
        baseline_name,
        difference,
        p_value,
        f"{best['BLEU-4']:.3f}",
        f"{best['ROUGE-L']:.3f}",
        f"{scores['greedy']['CIDEr-D']:.3f}",
        f"{scores['beam 5']['CIDEr-D']:.3f}",
        f"{row['CPU minutes']:.0f}" if row.get("CPU minutes") else "",
    ]


def table() -> str:
    """All runs that have a result, in the order of their list; one table per encoder input."""
    results = read_results()
    rows = [results[key] for name in RUNS for key in sorted(results) if key[0] == name]
    # The current input comes first: it is the one with the most runs.
    inputs = list(dict.fromkeys(row["pixels"] for row in rows))
    inputs.sort(key=lambda pixels: pixels != CURRENT_INPUT)
    tables = []
    for pixels in inputs:
        lines = [table_row(row, results) for row in rows if row["pixels"] == pixels]
        heading = f"Input of the CNN: {pixels} pixels per side."
        tables.append(f"{heading}\n\n{markdown_table(COLUMNS, lines, NUMBER_COLUMNS)}")
    return "\n\n".join(tables)


def run_label(row: Row) -> str:
    """A run's name, with its seed if that is not the first."""
    return f"{row['run']} (seed {row['seed']})" if row["seed"] > 1 else row["run"]


def draw() -> None:
    """Draw a bar for each run with the current input, with its interval.

    The file carries a fingerprint of the results, so that a test can tell whether it is up to date
    without drawing it again, which differs between releases of Matplotlib.
    """
    rows = [row for row in read_results().values() if row["pixels"] == CURRENT_INPUT]
    rows.sort(key=lambda row: row["scores"][PROTOCOL]["CIDEr-D"], reverse=True)
    scores = {}
    intervals = {}
    for row in rows:
        label = run_label(row)
        if is_short(row["run"]) and row["run"] != "six epochs":
            label += ", six epochs"
        scores[label] = row["scores"][PROTOCOL]["CIDEr-D"]
        intervals[label] = row["interval"]
    best = next(iter(scores))
    figure = plot_bars(scores, f"CIDEr-D, {PROTOCOL}, 1,000 photos", intervals, best)
    figure.savefig(FIGURE, dpi=120, metadata={"Description": results_fingerprint()})


def results_fingerprint() -> str:
    """A fingerprint of all results."""
    return hashlib.sha256(RESULTS.read_bytes()).hexdigest()
