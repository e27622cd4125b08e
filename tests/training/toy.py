"""A training of seconds, for tests; as a program it is one of several processes, or one to kill.

`python -m tests.training.toy SETTINGS [KILL]` trains with a checkpoint in CAPTIONS_WORKING on the devices
that the environment describes (TOY_DEVICES makes several of the CPU), prints the history and a
hash of the weights as JSON, and kills itself when it validates for the KILLth time.
"""

import hashlib
import json
import os
import signal
import sys
from dataclasses import replace

import numpy as np
import tensorflow as tf

from utils import artifacts
from utils.config import Config, parse_changes, parse_value
from utils.data.tokenizer import Tokenizer
from utils.models.captioners import build_captioner
from utils.training.batching import make_training_data
from utils.training.distribution import choose_strategy
from utils.training.loop import train

CHANNELS, SETTINGS = 6, Config(units=16, embedding_dim=8, max_length=8, epochs=4, batch_size=4)
WORDS = ["dog", "cat", "girl", "boy", "runs", "sleeps", "here", "there", "red", "blue"]


def toy_data(photos=22):
    """A random grid, a tokenizer, and pairs of random captions."""
    chance = np.random.RandomState(3)
    grid = chance.randn(photos, 4, CHANNELS).astype(np.float16)
    captions = {
        f"{row}.jpg": [" ".join(chance.choice(WORDS, chance.randint(2, 9))) for _ in range(3)]
        for row in range(photos)
    }
    tokenizer = Tokenizer(WORDS, SETTINGS.max_length)
    positions = {name: row for row, name in enumerate(captions)}
    return grid, tokenizer, make_training_data(list(captions), captions, positions, tokenizer)


def save_parents():
    """What a checkpoint says it was made from, where it is not there yet."""
    for kind in artifacts.ARTIFACTS["train"].parents:
        if not artifacts.find(kind, SETTINGS):
            artifacts.save(kind, {"of": "toy"}, SETTINGS)


def train_toy(config=SETTINGS, resume="train", kill=None, watch=None):
    """Train; returns the captioner and its history. `watch(captioner)` sees every epoch's end."""
    grid, tokenizer, pairs = toy_data()
    if resume:
        save_parents()
    with choose_strategy().scope():
        captioner = build_captioner(CHANNELS, len(tokenizer), config)
    ends = iter(range(1, 100))

    def validate(captioner):
        if watch:
            watch(captioner)
        if next(ends) == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        return float(np.asarray(captioner.output_projection.kernel).sum())  # goes up and down

    return captioner, train(captioner, pairs, grid, validate, config, resume=resume)


def weights_hash(captioner):
    """Equal for equal bits."""
    return hashlib.sha256(b"".join(part.tobytes() for part in captioner.get_weights())).hexdigest()


def main():
    """Read the command line and the environment, train, print."""
    count = int(os.environ.get("TOY_DEVICES", 1))
    if count > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, parts)
    changes = {key: parse_value(key, value) for key, value in parse_changes(sys.argv[1]).items()}
    kill = int(sys.argv[2]) if len(sys.argv) > 2 else None
    captioner, history = train_toy(replace(SETTINGS, **changes), kill=kill)
    print(json.dumps({"history": history, "weights": weights_hash(captioner)}))


if __name__ == "__main__":
    main()
