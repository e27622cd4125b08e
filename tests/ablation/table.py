"""The table and the picture of the results page, from the file of results."""

import hashlib
import json
from pathlib import Path

import numpy as np

from tests.ablation.runs import PROTOCOL, RUNS, SHORT
from tests.page import in_columns
from utils.evaluation.bootstrap import paired_bootstrap
from utils.plotting.figures import plot_bars

PIXELS = "all, 288"  # what the CNN sees today
FIRST = "the middle, 224"  # what the CNN saw in the first runs: the code can't repeat these
RESULTS = Path(__file__).with_name("results.jsonl")
PICTURE = RESULTS.with_suffix(".png")
HEAD = ["run", "what is different", "CIDEr-D", "against", "difference", "p"]
HEAD += ["BLEU-4", "ROUGE-L", "greedy", "beam 5", "CPU minutes"]


def read_results():
    """The lines of the file of results, by run, seed, and what the CNN saw of the photos."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return {(row["run"], row["seed"], row["pixels"]): row for row in map(json.loads, lines)}


def reference_of(name):
    """The run that another is compared with: the one it goes on from, or the one like it."""
    run = RUNS[name]
    short = "six epochs" if run.items() >= SHORT.items() else "frozen"
    return run.get("after") or run.get("members") or short


def difference(row, other, repeats=2000):
    """How much better a run is than another on the same photos, the interval of 95 %, and p."""
    photos = np.array([row["photos"], other["photos"]]) / 1000
    count = photos.shape[1]
    draws = np.random.RandomState(1).multinomial(count, np.full(count, 1 / count), repeats)
    ours, theirs = photos @ draws.T / count
    low, high, p = paired_bootstrap(ours, theirs)
    gap = photos[0].mean() - photos[1].mean()
    return f"{gap:+.3f} ({low:+.3f} to {high:+.3f})", f"{p:.3f}"


def line(row, results):
    """A run as a line of the table, cell by cell."""
    scores, name = row["scores"], row["run"]
    best, (low, high) = scores[PROTOCOL], row["interval"]
    reference, seed, pixels = reference_of(name), row["seed"], row["pixels"]
    if reference == name and pixels != FIRST:
        pixels = FIRST  # a first stage is compared with what the CNN saw before
    other = results.get((reference, seed, pixels))
    known = other and other is not row
    changes = ", ".join(f"{key} {value}" for key, value in RUNS[name].items())
    return [
        named(row),
        changes or "the preset's first stage",
        f"**{best['CIDEr-D']:.3f}** ({low:.3f} to {high:.3f})",
        (reference if pixels == row["pixels"] else f"{reference}, {pixels}") if known else "",
        *(difference(row, other) if known else ("", "")),
        f"{best['BLEU-4']:.3f}",
        f"{best['ROUGE-L']:.3f}",
        f"{scores['greedy']['CIDEr-D']:.3f}",
        f"{scores['beam 5']['CIDEr-D']:.3f}",
        f"{row['CPU minutes']:.0f}" if row.get("CPU minutes") else "",
    ]


def table():
    """All runs that have a result, in the order of their list, what the CNN saw apart."""
    results = read_results()
    rows = [results[key] for name in RUNS for key in sorted(results) if key[0] == name]
    parts = []
    for pixels in sorted({row["pixels"] for row in rows}, key=len):  # the plainest first
        lines = [line(row, results) for row in rows if row["pixels"] == pixels]
        parts.append(f"What the CNN saw: {pixels} pixels a side.\n\n{in_columns(HEAD, lines, 9)}")
    return "\n\n".join(parts)


def named(row):
    """A run's name, with its seed if that is not the first."""
    return row["run"] + (f" (seed {row['seed']})" if row["seed"] > 1 else "")


def draw():
    """A bar for each run of today's code, with its interval; the file says which results it shows.

    So a test can tell without drawing it again, which no two releases do alike.
    """
    results = read_results().values()
    rows = sorted(
        (row for row in results if row["pixels"] == PIXELS),
        key=lambda row: row["scores"][PROTOCOL]["CIDEr-D"],
    )
    short = {name for name, run in RUNS.items() if run.items() > SHORT.items()}
    names = [named(row) + ", six epochs" * (row["run"] in short) for row in rows]
    pairs = list(zip(names, rows, strict=True))
    scores = {name: row["scores"][PROTOCOL]["CIDEr-D"] for name, row in pairs[::-1]}
    intervals = {name: row["interval"] for name, row in pairs}
    best = next(iter(scores))
    figure = plot_bars(scores, f"CIDEr-D, {PROTOCOL}, 1,000 photos", intervals, best)
    figure.savefig(PICTURE, dpi=120, metadata={"Description": shown()})


def shown():
    """A fingerprint of all results."""
    return hashlib.sha256(RESULTS.read_bytes()).hexdigest()
