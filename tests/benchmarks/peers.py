"""This project's captioner and public examples, trained on the same features for the same CPU time.

`python -m tests.benchmarks.peers --input PHOTOS --working FOLDER` trains this project's captioner,
and with `--peer FILE` the one that a Python file builds. FOLDER has the features of notebook 1.
Each call writes one entry of `peers.json`, and the section of SPEED.md; `--table` only writes the
section. With `--costs MINUTES` the training is short and nothing is scored.

Everyone gets the same arrays: the encoder's grids, the standard split of Flickr8k, and the captions
as people wrote them. Vocabulary, model, batches, optimizer and decoding are a captioner's own. CPU
time is that of the process, with one thread for each operation; the time in which captions are
generated and scored, or a validation loss is computed, does not count. After 10, 20 and 30 minutes
all validation photos get a caption, which is scored as in RESULTS.md.

**How to plug in a peer.** FILE defines `build(data: PeerData) -> Learner`. Its name, URL, commit
and license stand in a dict `SOURCE`, what was changed in a list `CHANGES`; both go into
`peers.json`. A model that is trained with `fit` is given a `MonitorCallback`.

**The two peers on the page** are Apache-2.0 code, which is not part of this repository:

- "Image captioning with visual attention", a tutorial of TensorFlow Text: the notebook
  `docs/tutorials/image_captioning.ipynb` of https://github.com/tensorflow/text, commit 17c38bf. Its
  cells for the tokenizer, `prepare_dataset`, the layers, the model, `simple_gen`, the loss and the
  training run one after the other.
- "Image Captioning", an example of Keras: `examples/vision/image_captioning.py` of
  https://github.com/keras-team/keras-io, commit 8bda227. Everything from the standardization of the
  text to `fit` and the decoding loop runs in one file, with its rule which captions to leave out.

In both, rows of the grid take the place of the CNN's output, `PeerData` that of the files, and for
the scores the same greedy search runs on many photos at once. Further changes:

- The tutorial: features are looked up when a batch is made, and not stored once for each caption.
  Keras 3 needs the argument `training` in `Captioner.call`, without which dropout is off; position
  embeddings that are repeated for each caption, as `Add` does not broadcast over the batch; and
  labels cast to integers in the loss. The callback that captions a downloaded photo is left out.
- The Keras example: no augmentation, which works on pixels; and its layers are built before `fit`,
  as its model has no `call`. Its captions are scored twice: as its loop returns them, and cut at
  `<end>`, where the loop was meant to stop.
"""

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tests.ablation.experiment import limit_threads
from tests.benchmarks.peer_table import BUDGETS, RESULTS, read_results, write_section
from tests.page import describe_machine
from utils import artifacts
from utils.config import load_config
from utils.data.photos import find_photos
from utils.evaluation.metrics import References, cider_d
from utils.feature_grids import load_grid
from utils.io import write_atomically
from utils.models.encoders import choose_encoder

SPLITS = ("train", "validation")
TIMED_PHOTOS = 30  # captioned one by one
WARM_UP_PHOTOS = 3
COST_PHOTOS = 192  # trained on where only the costs are measured


@dataclass(frozen=True)
class PeerData:
    """What every captioner is given.

    Attributes:
        grid: Features `(photos, cells, channels)` in float16; a memory map.
        rows: The photos of each split as rows of the grid.
        captions: The human captions of each photo of a split, as they were written.
    """

    grid: np.ndarray
    rows: dict[str, np.ndarray]
    captions: dict[str, list[list[str]]]


class Learner(Protocol):
    """A captioner that can be compared.

    Attributes:
        parameters: The number of weights that are trained.
        photos_per_batch: Captions in a batch, divided by the captions of a photo.
    """

    parameters: int
    photos_per_batch: float

    def train(self, monitor: "Monitor") -> None:
        """Train, and call `monitor.after_batches` now and then, until it returns True."""

    def caption_one(self, row: int) -> tuple[str, int]:
        """The caption of one photo, and the number of decoding steps: greedy search as it comes."""

    def caption_all(self, rows: np.ndarray) -> dict[str, list[str]]:
        """The captions of many photos, for each way of decoding; "greedy" is the same search."""


# === CPU time ===


class CpuClock:
    """CPU seconds of all threads of this process, without those of pauses.

    Args:
        now: Gives the CPU seconds since some moment.
    """

    def __init__(self, now: Callable[[], float] = time.process_time):
        self.now = now
        self.start = now()
        self.pause_start: float | None = None

    @property
    def seconds(self) -> float:
        """The seconds so far."""
        end = self.now() if self.pause_start is None else self.pause_start
        return end - self.start

    def pause(self) -> None:
        """Stop counting."""
        self.pause_start = self.now()

    def resume(self) -> None:
        """Continue counting."""
        assert self.pause_start is not None, "the clock is not paused"
        self.start += self.now() - self.pause_start
        self.pause_start = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what is done inside."""
        self.pause()
        try:
            yield
        finally:
            self.resume()


def product_milliseconds(repeats: int = 20) -> float:
    """CPU milliseconds of a product of two matrices of 1,024 rows: how fast the machine is now."""
    matrix = tf.ones([1024, 1024])
    start = time.process_time()
    for _ in range(repeats):
        product = tf.matmul(matrix, matrix)
    float(product[0, 0])  # waits for the last one
    return 1000 * (time.process_time() - start) / repeats


# === Training for a budget ===


class Monitor:
    """Scores a captioner when it has been trained for so much CPU time.

    Args:
        score: Gives the scores of the captioner as it is, by way of decoding.
        budgets: CPU minutes, ascending.
        clock: Counts the training.
    """

    def __init__(
        self,
        score: Callable[[], dict[str, float]],
        budgets: Sequence[float] = BUDGETS,
        clock: CpuClock | None = None,
    ):
        self.score = score
        self.budgets = budgets
        self.clock = clock or CpuClock()
        self.checkpoints: list[dict[str, float]] = []
        self.progress: list[tuple[int, float]] = []  # batches, and the seconds until their end

    def after_batches(self, batches: int, always: bool = False) -> bool:
        """Note the progress, and score the captioner where a budget has been used up.

        Args:
            batches: The number of batches since the start.
            always: Score it now.

        Returns:
            Whether the last budget has been used up.
        """
        seconds = self.clock.seconds
        self.progress.append((batches, seconds))
        passed = [budget for budget in self.budgets if seconds >= 60 * budget]
        scored = [each["budgets"] for each in self.checkpoints]
        if always or len(passed) > max(scored, default=0):
            with self.clock.paused():
                self.add_checkpoint(batches, len(passed))
        return len(passed) == len(self.budgets)

    def add_checkpoint(self, batches: int, budgets: int) -> None:
        """Score the captioner as it is."""
        checkpoint = {"CPU minutes": self.clock.seconds / 60, "batches": batches}
        scores = self.score()
        self.checkpoints.append({**checkpoint, "budgets": budgets, **scores})
        print(json.dumps(rounded(self.checkpoints[-1])), flush=True)

    def seconds_per_batch(self) -> float:
        """The mean after the first noted progress, as graphs are compiled before it."""
        (first_batches, first_seconds), (batches, seconds) = self.progress[0], self.progress[-1]
        return (seconds - first_seconds) / max(1, batches - first_batches)


class MonitorCallback(keras.callbacks.Callback):
    """Connects a monitor with `fit`: its validation does not count, its training ends in time."""

    def __init__(self, monitor: Monitor):
        super().__init__()
        self.monitor = monitor
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the batch, and end the training after the last budget."""
        self.batches += 1
        if self.monitor.after_batches(self.batches):
            self.model.stop_training = True

    def on_test_begin(self, logs: Any = None) -> None:
        """Stop counting."""
        self.monitor.clock.pause()

    def on_test_end(self, logs: Any = None) -> None:
        """Continue counting."""
        self.monitor.clock.resume()


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a dict to four digits."""
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()
    }


def measure_costs(learner: Learner, data: PeerData, minutes: float) -> dict[str, Any]:
    """Measure what a captioner costs, after a training too short to score it.

    Args:
        learner: The captioner.
        data: What it was built with.
        minutes: CPU minutes of training.

    Returns:
        Its CPU time for a photo of an epoch and for a decoding step, and its parameters.
    """
    speeds = [product_milliseconds()]
    monitor = Monitor(dict, [minutes])
    learner.train(monitor)
    speeds.append(product_milliseconds())
    return costs(learner, data, monitor, speeds)


def measure(learner: Learner, data: PeerData, budgets: Sequence[float] = BUDGETS) -> dict[str, Any]:
    """Train a captioner for the budgets, and measure it.

    Args:
        learner: The captioner.
        data: What it was built with.
        budgets: CPU minutes, ascending.

    Returns:
        What `measure_costs` does, and the scores at the checkpoints.
    """
    references = References(data.captions["validation"])
    rows = data.rows["validation"]
    speeds = [product_milliseconds()]

    def score() -> dict[str, float]:
        speeds.append(product_milliseconds())
        captions = learner.caption_all(rows)
        return {way: float(cider_d(each, references)[0]) for way, each in captions.items()}

    monitor = Monitor(score, budgets)
    learner.train(monitor)
    batches, seconds = monitor.progress[-1]
    if seconds < 60 * budgets[-1]:  # it has stopped by itself, perhaps with earlier weights
        monitor.after_batches(batches, always=True)
    checkpoints = [rounded(each) for each in monitor.checkpoints]
    return {**costs(learner, data, monitor, speeds), "checkpoints": checkpoints}


def costs(
    learner: Learner, data: PeerData, monitor: Monitor, speeds: Sequence[float]
) -> dict[str, Any]:
    """The costs of a captioner that a monitor has watched; `speeds` are those of the machine."""
    milliseconds = 1000 * monitor.seconds_per_batch() / learner.photos_per_batch
    return {
        "parameters": learner.parameters,
        "CPU ms per training photo": round(milliseconds, 1),
        "measured batches": monitor.progress[-1][0] - monitor.progress[0][0],
        **measure_decoding(learner, data.rows["validation"]),
        "matrix product, CPU ms": [round(each, 1) for each in speeds],
        "machine": describe_machine(),
    }


def measure_decoding(learner: Learner, rows: np.ndarray) -> dict[str, Any]:
    """CPU milliseconds of a caption and of a decoding step, photo by photo.

    Also in how many cases `caption_all`, whose captions are scored, generates the same caption.
    """
    for row in rows[:WARM_UP_PHOTOS]:
        learner.caption_one(int(row))
    timed_rows = rows[:TIMED_PHOTOS]
    start = time.process_time()
    captions_and_steps = [learner.caption_one(int(row)) for row in timed_rows]
    milliseconds = 1000 * (time.process_time() - start)
    one_by_one = [caption for caption, _ in captions_and_steps]
    steps = sum(count for _, count in captions_and_steps)
    together = learner.caption_all(timed_rows)["greedy"]
    same = sum(first == second for first, second in zip(one_by_one, together, strict=True))
    return {
        "CPU ms per caption": round(milliseconds / len(timed_rows), 1),
        "CPU ms per step": round(milliseconds / steps, 2),
        "same captions in batches": f"{same} of {len(timed_rows)}",
    }


# === Command line ===


def load_data(folder: str) -> PeerData:
    """The photos of training and validation whose features notebook 1 put into a folder."""
    config = choose_encoder(replace(load_config("flickr8k"), working=folder))
    photos = find_photos(config)
    features = artifacts.load("features", config)
    positions = {name: row for row, name in enumerate(features["names"])}
    rows = {}
    captions = {}
    for split in SPLITS:
        names = [name for name in photos.splits[split] if name not in features["skipped"]]
        rows[split] = np.array([positions[name] for name in names])
        captions[split] = [photos.captions[name] for name in names]
    return PeerData(load_grid(features, config), rows, captions)


def first_photos(data: PeerData, photos: Sequence[int]) -> PeerData:
    """The first photos of each split, as many as `photos` says in the order of `SPLITS`."""
    rows = {}
    captions = {}
    for split, count in zip(SPLITS, photos, strict=True):
        rows[split] = data.rows[split][:count]
        captions[split] = data.captions[split][:count]
    return PeerData(data.grid, rows, captions)


def load_peer(path: Path) -> Any:
    """The module in a Python file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader, f"{path}: is no Python file"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure_and_record(options: argparse.Namespace) -> None:
    """Measure the captioner that the options name, and put the result into the file."""
    from tests.benchmarks import own_captioner

    data = load_data(options.working)
    if options.costs:
        data = first_photos(data, (COST_PHOTOS, TIMED_PHOTOS))
    if options.peer:
        module = load_peer(options.peer)
        learner = module.build(data)
    else:
        module = own_captioner
        learner = own_captioner.build(data, options.epochs)
    if options.costs:
        measured = measure_costs(learner, data, options.costs)
    else:
        measured = measure(learner, data)
    result = {**module.SOURCE, "changes": module.CHANGES, **measured}
    print(json.dumps(measured), flush=True)
    name = result.pop("name")
    results = read_results()
    results[name] = {**results.get(name, {}), **result}
    content = json.dumps(results, indent=1) + "\n"
    write_atomically(RESULTS, lambda file: file.write(content.encode()))


def main() -> None:
    """Read the command line, train and measure one captioner, and write the section."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("--input", default="data", help="the folder of photos and captions")
    parser.add_argument("--working", default="working", help="the folder with their features")
    parser.add_argument("--peer", type=Path, help="the Python file of another captioner")
    parser.add_argument("--epochs", type=int, default=4, help="of this project's captioner")
    parser.add_argument(
        "--costs",
        type=float,
        metavar="MINUTES",
        help="only measure the costs, with few photos and so many CPU minutes of training",
    )
    parser.add_argument("--table", action="store_true", help="only write the section of SPEED.md")
    options = parser.parse_args()
    if not options.table:
        os.environ.update({"CAPTIONS_INPUT": options.input, "CAPTIONS_PRESET": "flickr8k"})
        limit_threads(1)
        measure_and_record(options)
    write_section()


if __name__ == "__main__":
    main()
