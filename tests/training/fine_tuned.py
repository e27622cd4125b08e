"""A small run that tunes the sample's CNN, for tests; as a program it is one of several devices.

`python -m tests.training.fine_tuned DEVICES` trains in both stages on so many parts of the CPU, in the folder
that CAPTIONS_WORKING names, and prints the histories as JSON.
"""

import json
import sys
from dataclasses import replace

import numpy as np
import tensorflow as tf

from utils import artifacts
from utils.config import load_config
from utils.data.photos import find_photos
from utils.data.tokenizer import Tokenizer
from utils.features import extract_backbone_features, extract_dataset
from utils.models.captioners import build_captioner
from utils.models.encoders import build_encoder
from utils.training.batching import make_training_data
from utils.training.distribution import choose_strategy
from utils.training.stages import train_member

SETTINGS = load_config(
    "sample", units=32, embedding_dim=16, epochs=2, fine_tune_epochs=2, min_count=1, batch_size=8
)
SETTINGS = replace(SETTINGS, scst_epochs=1)


def small_run(config):
    """Features of a few drawn photos, frozen part too, and an encoder that nobody has tuned."""
    photos = find_photos(config)
    photos = replace(photos, splits={part: names[:16] for part, names in photos.splits.items()})
    encoder = build_encoder("sample_cnn")
    features = extract_dataset(photos, encoder, config)
    artifacts.save("features", features, config)
    frozen = extract_backbone_features(features, photos, encoder, config)
    artifacts.save("backbone_features", frozen, config)
    captions = [text for name in photos.splits["train"] for text in photos.captions[name]]
    tokenizer = Tokenizer.fit(captions, 1, config.max_length)
    artifacts.save("captions", {}, config)
    artifacts.save("tokenizer", tokenizer.to_dict(), config)
    return config, photos, features, frozen, encoder, tokenizer


def prepared(run):
    """A captioner, what it learns from and is checked with: as `train_one` asks for them."""
    config, photos, features, _, _, tokenizer = run
    positions = {name: row for row, name in enumerate(features["names"])}
    pairs = make_training_data(photos.splits["train"], photos.captions, positions, tokenizer)
    names = photos.splits["validation"]
    references = [photos.captions[name] for name in names]
    with choose_strategy().scope():
        captioner = build_captioner(features["grid_shape"][2], len(tokenizer), config)
    return captioner, pairs, (np.array([positions[name] for name in names]), references, tokenizer)


def main(devices):
    """Train, print."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(cpu, parts)
    config = replace(SETTINGS, dropout=0.0, scst_epochs=0)  # each device draws its own luck
    run = small_run(config)
    captioner, pairs, checked = prepared(run)
    _, histories = train_member(captioner, *run[2:4], pairs, checked, config)
    print(json.dumps(histories))


if __name__ == "__main__":
    main(int(sys.argv[1]))
