"""The loop against the classic recipe, and against its own compiled step on batches that lie ready.

The classic: a generator that yields, photo by photo, every beginning of every caption as a row of
its own with the photo's vector copied beside it and the next word as a one-hot row, and `fit`.
"""

import os
import tempfile
import time
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tests.benchmarks import seconds
from utils.config import load_config
from utils.data.photos import find_photos
from utils.data.tokenizer import Tokenizer
from utils.devices import dtype_policy
from utils.features import extract_features
from utils.models.captioners import build_captioner, token_frequencies
from utils.models.encoders import build_encoder
from utils.training.batching import bucketed_batches, make_training_data, prefetch_batches
from utils.training.loop import make_validator, train, train_epoch
from utils.training.step import make_optimizer, make_train_step

VOCABULARY, CHANNELS, PHOTOS = 2924, 1280, 64  # as many words and channels as real photos have


class Classic(keras.Model):
    """A merge captioner as the recipes call it: the next word after each padded beginning."""

    def __init__(self, merge):
        super().__init__()
        self.merge = merge

    def call(self, inputs, training=False):
        """Logits `(rows, vocabulary)` for vectors and beginnings."""
        vectors, words = inputs
        picture = self.merge.initial_state(vectors[:, None], training)["picture"]
        read = self.merge.lstm(self.merge.drop(self.merge.embed(words), training=training))[0]
        last = tf.math.count_nonzero(words, axis=1) - 1
        return self.merge.logits(tf.gather(read, last, batch_dims=1) + picture, training)


def classic(merge, pairs, grid, vocabulary):
    """One epoch by the classic recipe, as a function."""
    model = Classic(merge)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    vectors = np.asarray(grid, np.float32).mean(axis=1)

    def beginnings():
        while True:
            for row, sentences in zip(*pairs, strict=True):
                known = [
                    (np.where(np.arange(len(sentence)) < time, sentence, 0), sentence[time])
                    for sentence in sentences
                    for time in range(1, np.count_nonzero(sentence))
                ]
                rows, answers = map(np.array, zip(*known, strict=True))
                pictures = np.repeat(vectors[row][None], len(rows), axis=0)
                yield (pictures, rows), keras.utils.to_categorical(answers, vocabulary)

    endless = beginnings()
    return lambda: model.fit(endless, steps_per_epoch=len(pairs[0]), verbose=0)


def ours(captioner, pairs, grid, config):
    """One epoch by the loop, as a function; and the bare step on batches that lie ready."""
    strategy, plan = captioner.distribute_strategy, bucketed_batches(pairs[1], config.batch_size, 0)
    step = make_train_step(captioner, make_optimizer(config, 100), config)
    ready, words = list(prefetch_batches(plan, pairs, grid, strategy)), [1] * len(plan)

    def epoch():
        inputs = zip(prefetch_batches(plan, pairs, grid, strategy), words, strict=True)
        with tqdm(disable=True) as bar:
            train_epoch(step, inputs, bar, 1)

    return epoch, lambda: float([step(*batch) for batch in ready][-1])


def random_pairs():
    """Features and captions of random words, of Flickr8k's sizes and lengths."""
    chance = np.random.RandomState(0)
    grid = chance.rand(PHOTOS, 81, CHANNELS).astype(np.float16)
    words = chance.randint(4, VOCABULARY, (PHOTOS, 5, 27)).astype(np.int32)
    lengths = np.clip(chance.normal(12.8, 3.8, (PHOTOS, 5, 1)), 4, 27).astype(int)
    return grid, (np.arange(PHOTOS), np.where(np.arange(27) < lengths, words, 0))


def sample_data(config):
    """The drawn world's grid, pairs, tokenizer and a function that validates."""
    photos = find_photos(config)
    paths = [photos.paths[name] for name in photos.names]
    chunks = extract_features(paths, build_encoder(config.encoder), config.encoder)
    grid, positions = np.concatenate(list(chunks)), {n: r for r, n in enumerate(photos.names)}
    names, checked = photos.splits["train"], photos.splits["validation"]
    texts = [text for name in names for text in photos.captions[name]]
    tokenizer = Tokenizer.fit(texts, config.min_count, config.max_length)
    references = [photos.captions[name] for name in checked]
    rows = np.array([positions[name] for name in checked])
    validate = make_validator(grid, rows, references, tokenizer, config)
    return (
        grid,
        make_training_data(names, photos.captions, positions, tokenizer),
        tokenizer,
        validate,
    )


def times_to_pass():
    """Seconds until the classic's best validation score, and until the default has passed it."""
    config = load_config("sample")
    grid, pairs, tokenizer, validate = sample_data(config)
    shares = token_frequencies(pairs[1].reshape(-1, pairs[1].shape[-1]), len(tokenizer))

    def build(kind):
        chosen = replace(config, decoder=kind)
        return build_captioner(grid.shape[2], len(tokenizer), chosen, shares)

    merge, spent, scores = build("merge"), [0.0], [0.0]
    epoch = classic(merge, pairs, grid, len(tokenizer))
    while len(scores) - int(np.argmax(scores)) <= 3 and len(scores) <= 20:
        begun = time.perf_counter()
        epoch()
        spent.append(spent[-1] + time.perf_counter() - begun)
        scores.append(validate(merge))

    begun, passed = time.perf_counter(), []

    def watch(captioner):
        score = validate(captioner)
        passed.append((score, time.perf_counter() - begun))  # what validation takes is counted
        return score

    train(build(config.decoder), pairs, grid, watch, config)
    first = next((taken for score, taken in passed if score > max(scores)), float("inf"))
    return spent[int(np.argmax(scores))], first


def growth(config, grid, pairs):
    """What more captions of each photo cost: a photo is looked at once, however many there are."""
    rows, words = pairs
    model = build_captioner(CHANNELS, VOCABULARY, replace(config, decoder="attention"))
    ways = [ours(model, (rows, words[:, :many]), grid, config)[0] for many in (1, 5)]
    for way in ways:
        way()  # compile
    one, five = seconds(*ways)
    yield "an epoch with five captions of each photo / with one", f"{five / one:.1f}", "5 or less"


def measure():
    """Yields what was compared, the figure and what was asked."""
    config = replace(load_config("flickr8k"), decoder="merge", units=256, batch_size=16)
    grid, pairs = random_pairs()
    merge = build_captioner(CHANNELS, VOCABULARY, config)
    slow = classic(build_captioner(CHANNELS, VOCABULARY, config), pairs, grid, VOCABULARY)
    epoch, bare = ours(merge, pairs, grid, config)
    for way in (slow, epoch, bare):
        way()  # compile
    taken = seconds(slow, epoch, repeats=3)
    yield "an epoch of one merge model: classic / ours", f"{taken[0] / taken[1]:.1f}", "6 or more"
    attention = build_captioner(CHANNELS, VOCABULARY, replace(config, decoder="attention"))
    epoch, bare = ours(attention, pairs, grid, config)
    bare()
    taken = seconds(epoch, bare, repeats=7)
    yield "the loop / the bare step on ready batches", f"{taken[0] / taken[1]:.2f}", "1.10 or less"
    yield from growth(config, grid, pairs)
    if dtype_policy(config) != "float32":
        half = build_captioner(CHANNELS, VOCABULARY, replace(config, decoder="attention"))
        full = replace(config, decoder="attention", precision="float32")
        whole = build_captioner(CHANNELS, VOCABULARY, full)
        ways = [ours(each, pairs, grid, config)[1] for each in (whole, half)]
        for way in ways:
            way()  # compile
        taken = seconds(*ways, repeats=3)
        yield "a step with all the bits / with half", f"{taken[0] / taken[1]:.2f}", "more than 1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CAPTIONS_PRESET": "sample", "CAPTIONS_WORKING": folder}
        classic_time, default_time = times_to_pass()
    what = "to the classic's best score on the sample: classic / default"
    yield what, f"{classic_time / default_time:.1f}", "10 or more"
