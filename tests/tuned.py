"""A small run that tunes the sample's CNN, for tests; as a program it is one of several devices.

`python -m tests.tuned DEVICES` trains in both stages on so many parts of the CPU, in the folder
that CAPTIONS_WORKING names, and prints the histories as JSON.
"""

import json
import sys
from dataclasses import replace

import numpy as np
import tensorflow as tf

from utils import store
from utils.batches import training_pairs
from utils.captioners import build_captioner
from utils.devices import choose_devices
from utils.encoders import build_encoder
from utils.features import extract_all, extract_frozen
from utils.settings import load_settings
from utils.text import Tokenizer
from utils.train import train_one
from world.photos import find_photos

SETTINGS = load_settings(
    "sample", units=32, embedding=16, epochs=2, tuning_epochs=2, min_count=1, batch_photos=8
)
SETTINGS = replace(SETTINGS, score_epochs=1)


def small_run(settings):
    """Features of a few drawn photos, frozen part too, and an encoder that nobody has tuned."""
    photos = find_photos(settings)
    photos = replace(photos, splits={part: names[:16] for part, names in photos.splits.items()})
    encoder = build_encoder("tiny")
    features = extract_all(photos, encoder, settings)
    store.save("features", features, settings)
    frozen = extract_frozen(features, photos, encoder, settings)
    store.save("frozen", frozen, settings)
    captions = [text for name in photos.splits["train"] for text in photos.captions[name]]
    tokenizer = Tokenizer.fit(captions, 1, settings.max_words)
    store.save("captions", {}, settings)
    store.save("tokenizer", tokenizer.to_dict(), settings)
    return settings, photos, features, frozen, encoder, tokenizer


def prepared(run):
    """A captioner, what it learns from and is checked with: as `train_one` asks for them."""
    settings, photos, features, _, _, tokenizer = run
    positions = {name: row for row, name in enumerate(features["names"])}
    pairs = training_pairs(photos.splits["train"], photos.captions, positions, tokenizer)
    names = photos.splits["validation"]
    references = [photos.captions[name] for name in names]
    with choose_devices().scope():
        captioner = build_captioner(features["grid_shape"][2], len(tokenizer), settings)
    return captioner, pairs, (np.array([positions[name] for name in names]), references, tokenizer)


def main(devices):
    """Train, print."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(cpu, parts)
    settings = replace(SETTINGS, dropout=0.0, score_epochs=0)  # each device draws its own luck
    run = small_run(settings)
    captioner, pairs, checked = prepared(run)
    _, histories = train_one(captioner, *run[2:4], pairs, checked, settings)
    print(json.dumps(histories))


if __name__ == "__main__":
    main(int(sys.argv[1]))
