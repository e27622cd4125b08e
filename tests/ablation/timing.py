"""What a run costs: minutes of wall-clock time and of CPU time, epoch by epoch."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.features import BATCH_SIZE, extract_features
from utils.io import write_atomically
from utils.training.checkpoint import History
from utils.training.validation import ValidationResult, Validator

COSTS = ("minutes", "CPU minutes")

Costs = dict[str, float]  # a value for each of `COSTS`


class Stopwatch:
    """Measures the costs of what this process does."""

    def __init__(self) -> None:
        self.wall_start = time.perf_counter()
        self.cpu_start = time.process_time()

    def elapsed(self) -> Costs:
        """The costs since the stopwatch was made."""
        seconds = (time.perf_counter() - self.wall_start, time.process_time() - self.cpu_start)
        return {cost: value / 60 for cost, value in zip(COSTS, seconds, strict=True)}


def add(first: Costs, second: Costs) -> Costs:
    """The sum of two costs."""
    return {cost: first[cost] + second[cost] for cost in COSTS}


def multiply(costs: Costs, times: float) -> Costs:
    """The costs of doing something several times."""
    return {cost: times * costs[cost] for cost in COSTS}


class StageClock:
    """Measures the epochs of one stage, even if the training is restarted.

    The costs until the end of each epoch are kept in a file. An epoch that was interrupted counts
    as if it had begun with the restart.

    Args:
        path: The file.
        epochs_done: Number of epochs in the checkpoint that the training resumes.
        stopwatch: Started when the stage was started or resumed.
    """

    def __init__(self, path: Path, epochs_done: int, stopwatch: Stopwatch):
        self.path = path
        self.stopwatch = stopwatch
        recorded = json.loads(path.read_text()) if path.exists() else []
        not_measured = [None] * (epochs_done - len(recorded))
        self.epochs: list[Costs | None] = [*recorded, *not_measured][:epochs_done]
        measured = [epoch for epoch in self.epochs if epoch]
        self.before_restart = measured[-1] if measured else dict.fromkeys(COSTS, 0.0)

    @property
    def is_complete(self) -> bool:
        """Whether all epochs were measured."""
        return None not in self.epochs

    def timed(self, validate: Validator) -> Validator:
        """A validator that records, after each epoch, what the stage has cost until then."""

        def validate_and_record(captioner: Any) -> ValidationResult:
            result = validate(captioner)
            self.epochs.append(self.total())
            content = json.dumps(self.epochs).encode()
            write_atomically(self.path, lambda file: file.write(content))
            return result

        return validate_and_record

    def total(self) -> Costs:
        """What the stage has cost until now; without what was not measured."""
        return add(self.before_restart, self.stopwatch.elapsed())

    def history(
        self, epochs: History, costs_before: Costs | None, extraction: Costs | None
    ) -> dict[str, Any]:
        """The history of the stage with its costs.

        Args:
            epochs: A dict per epoch.
            costs_before: The costs of the stages before this one, None where they are not known.
            extraction: The costs of the features that this stage needs in addition.

        Returns:
            `epochs`, each with the costs of everything until its end where all of that was
            measured; the stage's own costs; whether these are complete; and `extraction`.
        """
        history = {"epochs": epochs, **rounded(self.total()), "complete": self.is_complete}
        if costs_before and extraction and self.is_complete:
            start = add(costs_before, extraction)
            costs = [rounded(add(start, each)) for each in self.epochs]
            history["epochs"] = [{**each, **cost} for each, cost in zip(epochs, costs, strict=True)]
            history["extraction"] = rounded(extraction)
        return history


def measure_extraction(photos: Sequence[Any], model: Any) -> Costs:
    """The costs of extracting the features of one photo, as a mean over these.

    Args:
        photos: Paths, or other photos that `extract_features` takes.
        model: An encoder or a backbone.
    """
    for _ in extract_features(photos[:BATCH_SIZE], model, "warming up"):
        pass  # traces the graph
    stopwatch = Stopwatch()
    for _ in extract_features(photos, model, "measuring the extraction"):
        pass
    return multiply(stopwatch.elapsed(), 1 / len(photos))


def rounded(costs: Costs) -> Costs:
    """Costs to a thousandth of a minute."""
    return {cost: round(costs[cost], 3) for cost in COSTS}
