"""Short tables for the page of results: encoders with each other, and the time to a score."""

from itertools import groupby

import numpy as np

from tests.ablation.results import (
    Key,
    Row,
    chain_of,
    compare,
    in_page_order,
    read_results,
    run_label,
)
from tests.ablation.runs import PROTOCOL
from tests.page import markdown_table

COMPARED_RUNS = ("frozen", "fine-tuned longer")
REFERENCE_ENCODER = "mobilenet_v2"
ENCODER_COLUMNS = [
    "encoder",
    "input",
    "run",
    "seeds",
    "CIDEr-D",
    "BLEU-4",
    "CPU minutes",
    "difference",
    "p",
]
TARGET_SCORES = (0.50, 0.55)
TIME_COLUMNS = [
    "encoder",
    "run",
    "extraction",
    *(f"to {target:.2f}" for target in TARGET_SCORES),
    "best epoch",
]


# === Encoders ===


def encoder_table() -> str:
    """The same runs with every encoder, as means over their seeds."""
    results = read_results()
    rows = in_page_order(results)
    lines = []
    for name in COMPARED_RUNS:
        of_run = [row for row in rows if row["run"] == name]
        reference_rows = first_input([row for row in of_run if row["encoder"] == REFERENCE_ENCODER])
        for _, group in groupby(of_run, lambda row: (row["encoder"], row["pixels"])):
            lines.append(encoder_row(list(group), reference_rows, results))
    return markdown_table(ENCODER_COLUMNS, lines, 6)


def first_input(rows: list[Row]) -> list[Row]:
    """The rows of an encoder that have its first input in the order of the page."""
    return [row for row in rows if row["pixels"] == rows[0]["pixels"]]


def encoder_row(rows: list[Row], reference_rows: list[Row], results: dict[Key, Row]) -> list[str]:
    """One run with one encoder, all seeds, as a row of the table."""
    difference = p_value = ""
    if rows[0]["encoder"] != REFERENCE_ENCODER:
        difference, p_value = compare_seeds(rows, reference_rows)
    scores = [row["scores"][PROTOCOL] for row in rows]
    minutes = [total_cpu_minutes(row, results) for row in rows]
    known_minutes = [each for each in minutes if each is not None]
    return [
        rows[0]["encoder"],
        rows[0]["pixels"],
        rows[0]["run"],
        ", ".join(str(row["seed"]) for row in rows),
        f"**{np.mean([each['CIDEr-D'] for each in scores]):.3f}**",
        f"{np.mean([each['BLEU-4'] for each in scores]):.3f}",
        f"{np.median(known_minutes):.0f}" if known_minutes else "",
        difference,
        p_value,
    ]


def compare_seeds(rows: list[Row], reference_rows: list[Row]) -> tuple[str, str]:
    """Compare two groups of captioners by the mean of each photo's scores over shared seeds."""
    photos = {row["seed"]: row["photos"] for row in rows}
    reference_photos = {row["seed"]: row["photos"] for row in reference_rows}
    seeds = [seed for seed in photos if seed in reference_photos]
    if not seeds:
        return "", ""
    sums = np.sum([photos[seed] for seed in seeds], axis=0)
    reference_sums = np.sum([reference_photos[seed] for seed in seeds], axis=0)
    return compare(sums, reference_sums, scale=1000 * len(seeds))


def total_cpu_minutes(row: Row, results: dict[Key, Row]) -> float | None:
    """The CPU minutes of all stages of a training; None where some are not known."""
    chain = chain_of(row, results)
    minutes = [stage.get("CPU minutes") for stage in chain] if chain else [None]
    return None if None in minutes else sum(minutes)


# === Time to a score ===


def time_table() -> str:
    """The minutes that each run takes to a score, for the runs all of whose epochs were timed."""
    results = read_results()
    lines = [time_row(row, results) for row in in_page_order(results)]
    known = [line for line in lines if line]
    return markdown_table(TIME_COLUMNS, known, 4) if known else "Not measured yet."


def time_row(row: Row, results: dict[Key, Row]) -> list[str] | None:
    """A run as a row of the table; None where an epoch of one of its stages was not timed."""
    chain = chain_of(row, results) or []
    epochs = [epoch for stage in chain for epoch in stage["history"]]
    if not epochs or not all("CPU minutes" in epoch for epoch in epochs):
        return None
    extraction = sum(stage["extraction"]["CPU minutes"] for stage in chain)
    return [
        f"{row['encoder']}, {row['pixels']}",
        run_label(row),
        f"{extraction:.0f}",
        *(time_to(target, epochs) for target in TARGET_SCORES),
        f"{max(epoch['CIDEr-D'] for epoch in row['history']):.3f}",
    ]


def time_to(target: float, epochs: list[dict[str, float]]) -> str:
    """The minutes, and in parentheses the CPU minutes, until the first epoch with such a score."""
    for epoch in epochs:
        if epoch["CIDEr-D"] >= target:
            return f"{epoch['minutes']:.0f} ({epoch['CPU minutes']:.0f})"
    return "not reached"
