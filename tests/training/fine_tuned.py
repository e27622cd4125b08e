"""A small run that fine-tunes the sample's CNN, for tests.

As a program, `python -m tests.training.fine_tuned DEVICES` trains in all stages on so many virtual
devices, in the folder that CAPTIONS_WORKING names, and prints the histories as JSON.
"""

import json
import sys
from dataclasses import replace
from typing import Any, NamedTuple

import tensorflow as tf

from utils import artifacts
from utils.config import Config, load_config
from utils.data.photos import Photos, find_photos
from utils.data.tokenizer import Tokenizer
from utils.features import extract_backbone_features, extract_dataset
from utils.models.captioners import build_captioner
from utils.models.encoders import build_encoder
from utils.sample.dataset import write_sample
from utils.training.batching import Datasets, make_training_data, make_validation_data
from utils.training.distribution import choose_strategy
from utils.training.stages import train_member

CONFIG = load_config(
    "sample",
    units=32,
    embedding_dim=16,
    epochs=2,
    fine_tune_epochs=2,
    crops=1,
    scst_epochs=1,
    min_count=1,
    batch_size=8,
)
PHOTOS_PER_SPLIT = 16


class SmallRun(NamedTuple):
    """What notebooks 1 and 2 hand on."""

    config: Config
    photos: Photos
    features: dict
    backbone_features: dict
    encoder: Any
    tokenizer: Tokenizer


def make_run(config):
    """Extract the features of a few drawn photos and fit a tokenizer; saves the artifacts."""
    counts = (PHOTOS_PER_SPLIT,) * 3
    write_sample(artifacts.working_folder(config) / "sample", *counts, progress=False)
    photos = find_photos(config)
    encoder = build_encoder("sample_cnn")
    features = extract_dataset(photos, encoder, config)
    artifacts.save("features", features, config)
    backbone_features = extract_backbone_features(features, photos, encoder, config)
    artifacts.save("backbone_features", backbone_features, config)

    captions = [caption for name in photos.splits["train"] for caption in photos.captions[name]]
    tokenizer = Tokenizer.fit(captions, 1, config.max_length)
    artifacts.save("captions", {}, config)
    artifacts.save("tokenizer", tokenizer.to_dict(), config)
    return SmallRun(config, photos, features, backbone_features, encoder, tokenizer)


def make_training_inputs(run):
    """An untrained captioner, the training data and the validation data."""
    positions = {name: row for row, name in enumerate(run.features["names"])}
    captions = run.photos.captions
    splits = run.photos.splits
    train_data = make_training_data(splits["train"], captions, positions, run.tokenizer)
    validation_data = make_validation_data(splits["validation"], captions, positions, run.tokenizer)
    with choose_strategy().scope():
        captioner = build_run_captioner(run)
    return captioner, train_data, validation_data


def build_run_captioner(run, config=None, tokenizer=None):
    """An untrained captioner for the features of a run."""
    channels = run.features["grid_shape"][2]
    vocab_size = len(tokenizer or run.tokenizer)
    return build_captioner(channels, vocab_size, config or run.config)


def main(devices):
    """Train on virtual devices and print the histories."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    virtual_devices = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(cpu, virtual_devices)
    # Dropout and sampling draw other random numbers on every device.
    run = make_run(replace(CONFIG, dropout=0.0, scst_epochs=0))
    captioner, *data = make_training_inputs(run)
    datasets = Datasets(*data)
    _, histories = train_member(
        captioner, run.features, run.backbone_features, datasets, run.config
    )
    print(json.dumps(histories))


if __name__ == "__main__":
    main(int(sys.argv[1]))
