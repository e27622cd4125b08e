"""Beam and greedy search against the classic loop: `predict` per photo and per word, greedily.

The captioner has the size of the `flickr8k` preset (512 units, 3,000 words, 81 cells of 1,280
channels) and random weights, so captions don't end: the classic loop stops after 11 words, as many
as people use, and search after 16, which is where the longest of a batch of 64 ends.
"""

from dataclasses import replace
from functools import partial

import keras
import numpy as np

from tests.benchmarks import seconds
from utils.config import PRESETS, Config
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, SUPPRESSED_IDS
from utils.decoding.beam_search import generate
from utils.decoding.sampling import sample
from utils.models.captioners import build_captioner

VOCABULARY, CELLS, CHANNELS, CLASSIC = 3000, 81, 1280, 3
USUAL, LONGEST = 11, 16
SETTINGS = replace(Config(), **PRESETS["flickr8k"] | {"max_length": LONGEST})


def measure():
    """The rows of the table; 1,000 photos, and the classic way on the first few of them."""
    captioner = endless(VOCABULARY)
    grid = np.random.default_rng(1).standard_normal((1000, CELLS, CHANNELS), np.float32)

    def write(width, photos=1000):
        return generate(captioner, grid[:photos], SETTINGS, width, progress=False)

    classic = whole_sentences(captioner)
    for way in (lambda: write(1, 64), lambda: write(3, 64), lambda: classic_greedy(classic, grid)):
        way()  # traced and warm
    greedy, beam, slow = seconds(
        lambda: write(1), lambda: write(3), lambda: classic_greedy(classic, grid), repeats=3
    )
    slow, greedy, beam = slow / CLASSIC, greedy / len(grid), beam / len(grid)
    yield "classic loop, seconds a caption", f"{slow:.3f}", "-"
    yield "greedy, 1,000 photos: times faster a caption", f"{slow / greedy:.0f}", "150"
    yield "beam 3, 1,000 photos: times faster a caption", f"{slow / beam:.0f}", "60"
    yield from growth(grid)
    samples = {"samples": 5, "batch": 64, "progress": False}
    sample(captioner, grid[:64], SETTINGS, **samples)
    (taken,) = seconds(lambda: sample(captioner, grid[:64], SETTINGS, **samples))
    yield "320 sampled captions, seconds", f"{taken:.2f}", "-"


def endless(vocabulary):
    """A captioner that never ends a caption by itself."""
    captioner = build_captioner(CHANNELS, vocabulary, SETTINGS)
    captioner.bias.assign(np.where(np.arange(vocabulary) == EOS_ID, -99, 0).astype(np.float32))
    return captioner


def growth(grid):
    """What wider beams and larger vocabularies cost: seconds of 128 captions, against beam 1."""
    ways = {}
    for vocabulary in (VOCABULARY, 4 * VOCABULARY):
        captioner = endless(vocabulary)
        for width in (1, 3, 5, 10):
            ways[vocabulary, width] = partial(
                generate, captioner, grid[:128], SETTINGS, width, progress=False
            )
    for way in ways.values():
        way()  # traced and warm
    taken = dict(zip(ways, seconds(*ways.values(), repeats=3), strict=True))
    for (vocabulary, width), time in taken.items():
        if (vocabulary, width) != (VOCABULARY, 1):
            what = f"beam {width} of {vocabulary:,} words / greedy of {VOCABULARY:,}"
            yield what, f"{time / taken[VOCABULARY, 1]:.1f}", "-"


def whole_sentences(captioner):
    """The model as the classic notebooks have it: features and a padded prefix in, logits out."""
    features = keras.Input((CELLS, CHANNELS))
    words = keras.Input((SETTINGS.max_length,), dtype="int32")
    return keras.Model([features, words], Whole(captioner)([features, words]))


class Whole(keras.layers.Layer):
    """The captioner as a layer, so that `predict` can be called on it."""

    def __init__(self, captioner):
        super().__init__()
        self.captioner = captioner

    def call(self, inputs):
        """The logits of all steps."""
        return self.captioner(inputs)

    def compute_output_shape(self, shapes):
        """`(batch, time, vocabulary)`."""
        return (*shapes[1], VOCABULARY)


def classic_greedy(model, grid):
    """Caption the first photos word by word, each word a `predict` of the padded prefix."""
    for photo in grid[:CLASSIC]:
        words = np.full((1, SETTINGS.max_length), PAD_ID, np.int32)
        words[0, 0] = BOS_ID
        for position in range(USUAL):
            logits = model.predict([photo[None], words], verbose=0)[0, position]
            logits[list(SUPPRESSED_IDS)] = -np.inf
            words[0, position + 1] = logits.argmax()
