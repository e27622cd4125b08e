"""The training loop against the classic recipe, and against its own compiled step alone.

The classic recipe is a generator that yields every prefix of every caption as a row of its own,
with a copy of the photo's feature vector and the next token one-hot encoded, and `fit`.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tests.benchmarks import median_seconds
from utils.config import Config, load_config
from utils.data.photos import find_photos
from utils.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from utils.devices import dtype_policy
from utils.features import extract_features
from utils.models.captioners import (
    CAPTIONERS,
    AttentionCaptioner,
    build_captioner,
    token_frequencies,
)
from utils.models.encoders import build_encoder
from utils.training.batching import (
    TrainData,
    bucketed_batches,
    make_training_data,
    make_validation_data,
    prefetch_batches,
)
from utils.training.loop import train, train_epoch
from utils.training.step import make_optimizer, make_train_step
from utils.training.validation import ValidationResult, make_validator

# As many tokens and channels as real photos have.
VOCAB_SIZE = 2924
CHANNELS = 1280
CELLS = 81
PHOTOS = 64
CAPTIONS = 5
TIME_STEPS = 27

Row = tuple[str, str, str]


def measure() -> Iterator[Row]:
    """An epoch, the loop's overhead, several captions per photo, precision, time to quality."""
    config = replace(load_config("flickr8k"), decoder="merge", units=256, batch_size=16)
    grid, train_data = random_data()
    yield measure_epoch(config, grid, train_data)
    yield measure_overhead(config, grid, train_data)
    yield measure_captions_per_photo(config, grid, train_data)
    yield measure_matrix_products(grid, train_data)
    if dtype_policy(config) != "float32":
        yield measure_precision(config, grid, train_data)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({"CAPTIONS_PRESET": "sample", "CAPTIONS_WORKING": folder})
        classic, default = times_to_quality()
    what = "time to the classic recipe's best score on the sample: classic recipe / default"
    yield what, f"{classic / default:.1f}", "10 or more"


def measure_epoch(config: Config, grid: np.ndarray, train_data: TrainData) -> Row:
    """One epoch of the same merge model by the classic recipe and by the loop."""
    model = build_captioner(CHANNELS, VOCAB_SIZE, config)
    classic = classic_epoch(model, train_data, grid, VOCAB_SIZE)
    epoch, _ = epoch_and_steps(config, grid, train_data)
    classic()  # compiles
    epoch()
    slow, fast = median_seconds(classic, epoch, repeats=3)
    return (
        "an epoch of one merge model: classic recipe / this loop",
        f"{slow / fast:.1f}",
        "6 or more",
    )


def measure_overhead(config: Config, grid: np.ndarray, train_data: TrainData) -> Row:
    """The loop against its compiled step on batches that are in memory."""
    epoch, steps = epoch_and_steps(replace(config, decoder="attention"), grid, train_data)
    epoch()  # compiles
    steps()
    loop, bare = median_seconds(epoch, steps, repeats=7)
    return "the loop / the bare step on ready batches", f"{loop / bare:.2f}", "1.10 or less"


def measure_captions_per_photo(config: Config, grid: np.ndarray, train_data: TrainData) -> Row:
    """Five captions per photo against one: each photo is encoded only once."""
    rows, token_ids = train_data
    config = replace(config, decoder="attention")
    one, _ = epoch_and_steps(config, grid, TrainData(rows, token_ids[:, :1]))
    five, _ = epoch_and_steps(config, grid, train_data)
    one()  # compiles
    five()
    few, many = median_seconds(one, five)
    what = "an epoch with five captions of each photo / with one"
    return what, f"{many / few:.1f}", "5 or less"


class ManyProducts(AttentionCaptioner):
    """The attention captioner with a matrix product for each time step and each caption."""

    def __init__(self, vocab_size: int, config: Config, frequencies: np.ndarray | None = None):
        super().__init__(vocab_size, config, frequencies)
        options = {"return_sequences": True, "return_state": True}
        self.attention_lstm = keras.layers.LSTM(config.units, **options)
        self.language_lstm = keras.layers.LSTM(config.units, **options)

    def compute_logits(self, hidden: Any, training: bool = False) -> Any:
        projected = self.dropout(self.output_projection(hidden), training=training)
        logits = tf.matmul(projected, self.embedding.embeddings, transpose_b=True)
        return logits + self.bias


def measure_matrix_products(grid: np.ndarray, train_data: TrainData) -> Row:
    """A step of the preset against one with Keras's LSTM and the usual product for the logits."""
    config = replace(load_config("flickr8k"), precision="float32")
    _, fast_steps = epoch_and_steps(config, grid, train_data)
    usual = CAPTIONERS["attention"]
    CAPTIONERS["attention"] = ManyProducts
    try:
        _, slow_steps = epoch_and_steps(config, grid, train_data)
    finally:
        CAPTIONERS["attention"] = usual
    slow_steps()  # compiles
    fast_steps()
    slow, fast = median_seconds(slow_steps, fast_steps, repeats=5)
    what = "a step with a matrix product for each time step and caption / this step, float32"
    return what, f"{slow / fast:.2f}", "1.4 or more"


def measure_precision(config: Config, grid: np.ndarray, train_data: TrainData) -> Row:
    """A step in full precision against one in half precision."""
    half = replace(config, decoder="attention")
    _, half_steps = epoch_and_steps(half, grid, train_data)
    _, full_steps = epoch_and_steps(replace(half, precision="float32"), grid, train_data)
    half_steps()  # compiles
    full_steps()
    full_seconds, half_seconds = median_seconds(full_steps, half_steps, repeats=3)
    what = "a step in full precision / in half precision"
    return what, f"{full_seconds / half_seconds:.2f}", "more than 1"


def random_data() -> tuple[np.ndarray, TrainData]:
    """Random features, and captions of random tokens with Flickr8k's distribution of lengths."""
    rng = np.random.RandomState(0)
    grid = rng.rand(PHOTOS, CELLS, CHANNELS).astype(np.float16)
    shape = (PHOTOS, CAPTIONS, TIME_STEPS)
    token_ids = rng.randint(len(SPECIAL_TOKENS), VOCAB_SIZE, shape).astype(np.int32)
    lengths = rng.normal(12.8, 3.8, (PHOTOS, CAPTIONS, 1))
    lengths = np.clip(lengths, 4, TIME_STEPS).astype(int)
    token_ids = np.where(np.arange(TIME_STEPS) < lengths, token_ids, 0)
    return grid, TrainData(np.arange(PHOTOS), token_ids)


def epoch_and_steps(
    config: Config, grid: np.ndarray, train_data: TrainData
) -> tuple[Callable, Callable]:
    """Two functions: an epoch by the loop, and its compiled steps on batches in memory."""
    captioner = build_captioner(CHANNELS, VOCAB_SIZE, config)
    strategy = captioner.distribute_strategy
    batches = bucketed_batches(train_data[1], config.batch_size, 0)
    step = make_train_step(captioner, make_optimizer(config, 100), config)
    ready = list(prefetch_batches(batches, train_data, grid, strategy))
    token_counts = [1] * len(batches)

    def epoch() -> None:
        prefetched = prefetch_batches(batches, train_data, grid, strategy)
        with tqdm(disable=True) as progress:
            train_epoch(step, zip(prefetched, token_counts, strict=True), progress, 1)

    def steps() -> None:
        losses = [step(*batch) for batch in ready]
        float(losses[-1])  # waits for the last step

    return epoch, steps


# === The classic recipe ===


class ClassicModel(keras.Model):
    """A merge captioner as the recipes call it: the next token after each padded prefix."""

    def __init__(self, merge: keras.Model):
        super().__init__()
        self.merge = merge

    def call(self, inputs, training=False):
        """Logits `(rows, vocab_size)` for feature vectors and prefixes."""
        vectors, prefixes = inputs
        image = self.merge.initial_state(vectors[:, None], training)["image_vector"]
        embedded = self.merge.dropout(self.merge.embedding(prefixes), training=training)
        hidden = self.merge.lstm(embedded)[0]
        last = tf.math.count_nonzero(prefixes, axis=1) - 1
        return self.merge.compute_logits(tf.gather(hidden, last, batch_dims=1) + image, training)


def classic_epoch(
    merge: keras.Model, train_data: TrainData, grid: np.ndarray, vocab_size: int
) -> Callable:
    """One epoch by the classic recipe, as a function."""
    model = ClassicModel(merge)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    vectors = np.asarray(grid, np.float32).mean(axis=1)
    rows, token_ids = train_data
    generator = classic_rows(vectors, rows, token_ids, vocab_size)
    return lambda: model.fit(generator, steps_per_epoch=len(rows), verbose=0)


def classic_rows(
    vectors: np.ndarray, rows: np.ndarray, token_ids: np.ndarray, vocab_size: int
) -> Iterator[tuple]:
    """For each photo, every prefix of every caption and the token after it; without end."""
    while True:
        for row, captions in zip(rows, token_ids, strict=True):
            prefixes = []
            next_tokens = []
            for caption in captions:
                for position in range(1, np.count_nonzero(caption)):
                    prefixes.append(np.where(np.arange(len(caption)) < position, caption, 0))
                    next_tokens.append(caption[position])
            images = np.repeat(vectors[row][None], len(prefixes), axis=0)
            targets = keras.utils.to_categorical(next_tokens, vocab_size)
            yield (images, np.array(prefixes)), targets


# === Time to quality on the sample ===


def sample_data(config: Config) -> tuple:
    """The sample's grid, training data, tokenizer, and a function that validates."""
    photos = find_photos(config)
    paths = [photos.paths[name] for name in photos.names]
    chunks = extract_features(paths, build_encoder(config.encoder), config.encoder)
    grid = np.concatenate(list(chunks))
    positions = {name: row for row, name in enumerate(photos.names)}
    train_names = photos.splits["train"]
    captions = [caption for name in train_names for caption in photos.captions[name]]
    tokenizer = Tokenizer.fit(captions, config.min_count, config.max_length)
    train_data = make_training_data(train_names, photos.captions, positions, tokenizer)
    validation_data = make_validation_data(
        photos.splits["validation"], photos.captions, positions, tokenizer
    )
    validate = make_validator(grid, validation_data, config)
    return grid, train_data, tokenizer, validate


def times_to_quality() -> tuple[float, float]:
    """Seconds until the classic's best validation score, and until the default exceeds it."""
    config = load_config("sample")
    grid, train_data, tokenizer, validate = sample_data(config)
    token_ids = train_data[1].reshape(-1, train_data[1].shape[-1])
    frequencies = token_frequencies(token_ids, len(tokenizer))
    channels = grid.shape[2]

    merge = build_captioner(channels, len(tokenizer), replace(config, decoder="merge"), frequencies)
    epoch = classic_epoch(merge, train_data, grid, len(tokenizer))
    seconds = [0.0]
    scores = [0.0]
    # Stop three epochs after the best one, or after twenty.
    while len(scores) - int(np.argmax(scores)) <= 3 and len(scores) <= 20:
        start = time.perf_counter()
        epoch()
        seconds.append(seconds[-1] + time.perf_counter() - start)
        scores.append(validate(merge).metrics["CIDEr-D"])

    start = time.perf_counter()
    results = []

    def timed_validate(captioner: keras.Model) -> ValidationResult:
        result = validate(captioner)
        score = result.metrics["CIDEr-D"]
        results.append((score, time.perf_counter() - start))  # includes the time of validation
        return result

    captioner = build_captioner(channels, len(tokenizer), config, frequencies)
    train(captioner, train_data, grid, timed_validate, config)
    better = [duration for score, duration in results if score > max(scores)]
    return seconds[int(np.argmax(scores))], better[0] if better else float("inf")
