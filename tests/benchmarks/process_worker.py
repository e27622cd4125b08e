"""`python -m tests.benchmarks.process_worker TASK CORE ...`: a process of `processes.py`.

It runs on the cores of these numbers alone, prepares, and prints `{}`. For every line on stdin it
does its part of the work once, and prints when it started and ended, and its CPU seconds, as JSON.
The line is the working folder of the extraction.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from tests.benchmarks.simulated import simulate_token_ids
from utils.config import Config, load_config
from utils.errors import CaptionsError

# For each size of a training: the settings, tokens, grid cells, channels, and steps of a round.
TRAININGS = {
    "train": (Config("flickr8k", precision="float32"), 3000, 81, 1280, 3),
    "train small": (Config("sample", units=192, embedding_dim=96), 100, 49, 160, 20),
}
CAPTIONS = 5

Work = Callable[[str], None]


def photos_per_round(task: str) -> int:
    """How many photos a training takes in one round."""
    config, _, _, _, steps = TRAININGS[task]
    return steps * config.batch_size


def prepare_extraction() -> Work:
    """Extraction of the drawn scenes in CAPTIONS_INPUT; CAPTIONS_SET names the shard."""
    from utils.data.photos import find_photos
    from utils.features import BATCH_SIZE, extract_dataset, extract_features
    from utils.models.encoders import build_encoder

    config = replace(load_config("flickr8k"), encoder="sample_cnn")
    photos = find_photos(config)
    encoder = build_encoder(config.encoder)
    blank = [np.zeros(encoder.input_shape[1:], np.uint8)] * BATCH_SIZE
    list(extract_features(blank, encoder, "blank"))  # traces the graph

    def extract(folder: str) -> None:
        try:
            extract_dataset(photos, encoder, replace(config, working=folder))
        except CaptionsError as error:
            # The shard that is finished first cannot be joined with the others.
            if "is written: run 01_features" not in str(error):
                raise

    return extract


def prepare_training(task: str) -> Work:
    """Steps of a training, on random features, in the cluster of TF_CONFIG if there is one."""
    from tqdm import tqdm

    from utils.models.captioners import build_captioner
    from utils.training.batching import TrainData, bucketed_batches, prefetch_batches
    from utils.training.distribution import choose_strategy
    from utils.training.loop import build_optimizer, train_epoch
    from utils.training.step import make_train_step

    strategy = choose_strategy()  # before TensorFlow is first used
    config, vocab_size, cells, channels, steps = TRAININGS[task]
    with strategy.scope():
        captioner = build_captioner(channels, vocab_size, config)
    step = make_train_step(captioner, build_optimizer(captioner, config, steps), config)
    photos = photos_per_round(task)
    rng = np.random.default_rng(0)
    grid = rng.random((photos, cells, channels), np.float32).astype(np.float16)
    data = TrainData(np.arange(photos), simulate_token_ids(photos, CAPTIONS, vocab_size))
    plan = bucketed_batches(data.token_ids, config.batch_size, 0)

    def train(_: str, batches: int | None = None) -> None:
        prefetched = prefetch_batches(plan[:batches], data, grid, strategy)
        with tqdm(disable=True) as bar:
            train_epoch(step, ((batch, 1) for batch in prefetched), bar, 1)

    train("", batches=1)  # traces the graph
    return train


PREPARATIONS: dict[str, Callable[[], Work]] = {"extract": prepare_extraction}
for name in TRAININGS:
    PREPARATIONS[name] = partial(prepare_training, name)


def main() -> None:
    """Prepare, and work whenever a line is read."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.process_worker")
    parser.add_argument("task", choices=list(PREPARATIONS))
    parser.add_argument("cores", nargs="+", type=int, metavar="CORE")
    options = parser.parse_args()
    os.sched_setaffinity(0, options.cores)  # of Linux
    prepare = PREPARATIONS[options.task]
    work = prepare()
    print("{}", flush=True)
    for line in sys.stdin:
        start = time.time()
        cpu_start = time.process_time()
        work(line.strip())
        cpu_seconds = time.process_time() - cpu_start
        row = {"start": start, "end": time.time(), "CPU seconds": cpu_seconds}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
