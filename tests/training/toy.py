"""A training of a few seconds, for tests; as a program, one process of several, or one to kill.

`python -m tests.training.toy SETTINGS [KILL_AT]` trains with a checkpoint in CAPTIONS_WORKING on
the devices that the environment describes (TOY_DEVICES divides the CPU into several), prints the
history and a hash of the weights as JSON, and kills itself when it validates for the KILL_AT-th
time. SETTINGS are like `dropout=0,epochs=2`.
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
from utils.training.loop import Stage, train
from utils.training.validation import ValidationResult

CHANNELS = 6
CONFIG = Config(units=16, embedding_dim=8, max_length=8, epochs=4, batch_size=4)
WORDS = ["dog", "cat", "girl", "boy", "runs", "sleeps", "here", "there", "red", "blue"]


def toy_data(photos=22):
    """A random feature grid, a tokenizer, and training data with random captions."""
    rng = np.random.RandomState(3)
    grid = rng.randn(photos, 4, CHANNELS).astype(np.float16)
    captions = {}
    for row in range(photos):
        captions[f"{row}.jpg"] = [" ".join(rng.choice(WORDS, rng.randint(2, 9))) for _ in range(3)]
    tokenizer = Tokenizer(WORDS, CONFIG.max_length)
    positions = {name: row for row, name in enumerate(captions)}
    return grid, tokenizer, make_training_data(list(captions), captions, positions, tokenizer)


def save_parents():
    """Save the artifacts that a checkpoint names as its parents, unless they exist."""
    for kind in artifacts.ARTIFACTS["train"].parents:
        if not artifacts.find(kind, CONFIG):
            artifacts.save(kind, {"of": "toy"}, CONFIG)


def train_toy(config=CONFIG, checkpoints=True, kill_at=None, on_validation=None):
    """Train on the toy data.

    Args:
        config: The configuration.
        checkpoints: Whether to save checkpoints and to continue from one.
        kill_at: The process is killed when it validates for this many times.
        on_validation: A function that is called with the captioner at the end of every epoch.

    Returns:
        The captioner and its history.
    """
    grid, tokenizer, train_data = toy_data()
    if checkpoints:
        save_parents()
    with choose_strategy().scope():
        captioner = build_captioner(CHANNELS, len(tokenizer), config)
    validations = 0

    def validate(captioner):
        nonlocal validations
        validations += 1
        if on_validation:
            on_validation(captioner)
        if validations == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        score = float(np.asarray(captioner.output_projection.kernel).sum())  # rises and falls
        return ValidationResult({"CIDEr-D": score}, [])

    stage = Stage("train", config.decoder, config) if checkpoints else None
    return captioner, train(captioner, train_data, grid, validate, config, stage)


def constant_score(captioner):
    """A validation for tests to which the score does not matter."""
    return ValidationResult({"CIDEr-D": 0.0}, [])


def weights_hash(captioner):
    """A hash of the bits of all weights."""
    content = b"".join(array.tobytes() for array in captioner.get_weights())
    return hashlib.sha256(content).hexdigest()


def split_cpu(count):
    """Divide the CPU into several logical devices."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    devices = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, devices)


def main():
    """Read the command line and the environment, train, print."""
    devices = int(os.environ.get("TOY_DEVICES", 1))
    if devices > 1:
        split_cpu(devices)
    changes = {key: parse_value(key, value) for key, value in parse_changes(sys.argv[1]).items()}
    kill_at = int(sys.argv[2]) if len(sys.argv) > 2 else None
    captioner, history = train_toy(replace(CONFIG, **changes), kill_at=kill_at)
    print(json.dumps({"history": history, "weights": weights_hash(captioner)}))


if __name__ == "__main__":
    main()
