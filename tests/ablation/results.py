"""The file of results: one JSON line per run, and what a run is compared with."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.ablation.runs import LONG, RUNS, SHORT
from tests.json_lines import Row, read_rows
from utils.evaluation.bootstrap import paired_bootstrap

RESULTS = Path(__file__).with_name("results.jsonl")
# The encoders in the order of the page: today's default first, then earlier ones.
ENCODER_ORDER = ("efficientnet_lite2", "efficientnet_lite1", "efficientnet_lite0", "mobilenet_v2")
BOOTSTRAP_SAMPLES = 2000

Key = tuple[str, int, str, str]  # run, seed, encoder, input of the encoder


def key_of(row: Row) -> Key:
    """What identifies a result."""
    return row["run"], row["seed"], row["encoder"], row["pixels"]


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Numbers of a dict to four digits."""
    return {name: round(float(value), 4) for name, value in scores.items()}


def read_results() -> dict[Key, Row]:
    """The results of all runs, in the order in which they were measured."""
    return {key_of(row): row for row in read_rows(RESULTS)}


def in_page_order(results: dict[Key, Row]) -> list[Row]:
    """The results by encoder, then by its input (the one with most runs first), run and seed."""
    rows = list(results.values())
    runs_per_input: dict[tuple[str, str], int] = {}
    for row in rows:
        encoder_input = row["encoder"], row["pixels"]
        runs_per_input[encoder_input] = runs_per_input.get(encoder_input, 0) + 1
    inputs = sorted(runs_per_input, key=lambda each: -runs_per_input[each])
    names = list(RUNS)

    def position(row: Row) -> tuple[Any, ...]:
        encoder = row["encoder"]
        listed = ENCODER_ORDER.index(encoder) if encoder in ENCODER_ORDER else len(ENCODER_ORDER)
        input_position = inputs.index((encoder, row["pixels"]))
        return listed, encoder, input_position, names.index(row["run"]), row["seed"]

    return sorted(rows, key=position)


def run_label(row: Row) -> str:
    """A run's name, with its seed if that is not the first."""
    return f"{row['run']} (seed {row['seed']})" if row["seed"] > 1 else row["run"]


def is_short(name: str) -> bool:
    """Whether a run has only the epochs of `SHORT`."""
    return RUNS[name].get("epochs") == SHORT["epochs"]


def baseline_of(name: str) -> str:
    """The run that another is compared with.

    It is the one that it continues, or the unchanged preset; variants of the preset's fine-tuning
    are compared with that.
    """
    run = RUNS[name]
    is_long = run.get("fine_tune_epochs", 0) >= LONG["fine_tune_epochs"]
    if is_long and name.startswith("fine-tuned longer,"):
        return "fine-tuned longer"
    if "after" in run:
        return run["after"]
    if "ensemble_of" in run:
        return run["ensemble_of"]
    return "six epochs" if is_short(name) else "frozen"


def find_baseline(row: Row, results: dict[Key, Row]) -> Row | None:
    """The result of the same encoder and seed that a row is compared with, if there is one."""
    name = baseline_of(row["run"])
    if name != row["run"]:
        return results.get((name, row["seed"], row["encoder"], row["pixels"]))
    # The preset itself is compared with the input of the encoder that was measured first.
    for other in results.values():
        if (other["run"], other["seed"], other["encoder"]) == (name, row["seed"], row["encoder"]):
            return None if other is row else other
    return None


def chain_of(row: Row, results: dict[Key, Row]) -> list[Row] | None:
    """The results of all stages of a training: those that a row continues, and itself.

    None where one of them is missing.
    """
    previous_name = RUNS[row["run"]].get("after")
    if previous_name is None:
        return [row]
    previous = results.get((previous_name, row["seed"], row["encoder"], row["pixels"]))
    chain = chain_of(previous, results) if previous else None
    return [*chain, row] if chain else None


def compare(first: Sequence[int], second: Sequence[int], scale: int = 1000) -> tuple[str, str]:
    """Compare two captioners photo by photo.

    Args:
        first: The score of each photo as a whole number.
        second: The same photos' scores by the other captioner.
        scale: What the numbers are divided by.

    Returns:
        The mean difference with its 95 % interval, and the p-value.
    """
    difference = np.array(first) - np.array(second)
    low, high, p_value = paired_bootstrap(resampled_sums(first), resampled_sums(second))
    low, mean, high = np.array([low, difference.sum(), high]) / scale / len(difference)
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})", f"{p_value:.3f}"


def interval(scores: Sequence[int], scale: int = 1000) -> str:
    """The 95 % interval of the mean over photos, in parentheses; arguments as in `compare`."""
    low, high = np.percentile(resampled_sums(scores), [2.5, 97.5]) / scale / len(scores)
    return f"({low:.3f} to {high:.3f})"


def resampled_sums(scores: Sequence[int]) -> np.ndarray:
    """The sum of the scores in each bootstrap sample, of the same photos in every call.

    Sums of whole numbers are exact, so the tables are the same on every machine.
    """
    return bootstrap_weights(len(scores)) @ np.array(scores)


@cache
def bootstrap_weights(photos: int) -> np.ndarray:
    """How often each photo is in each bootstrap sample, `(samples, photos)`."""
    rng = np.random.RandomState(1)
    return rng.multinomial(photos, np.full(photos, 1 / photos), BOOTSTRAP_SAMPLES)
