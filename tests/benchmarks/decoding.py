"""Greedy and beam search against the loop of most tutorials: `predict` per photo and per token.

The captioner has the size of the `flickr8k` preset (512 units, 3,000 tokens, 81 grid cells of
1,280 channels) and random weights, so captions do not end by themselves. The tutorials' loop stops
after 11 tokens, the mean length of a human caption; beam search stops after 16, where the longest
caption of a batch of 64 usually ends.
"""

from collections.abc import Iterator
from functools import partial

import keras
import numpy as np

from tests.benchmarks import median_seconds
from utils.config import Config
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, SUPPRESSED_IDS
from utils.decoding.beam_search import generate
from utils.decoding.sampling import sample
from utils.models.captioners import build_captioner

VOCAB_SIZE = 3000
CELLS = 81
CHANNELS = 1280
PHOTOS = 1000
CLASSIC_PHOTOS = 3
MEAN_LENGTH = 11
MAX_LENGTH = 16
CONFIG = Config("flickr8k", max_length=MAX_LENGTH)

Row = tuple[str, str, str]


def measure() -> Iterator[Row]:
    """Greedy and beam search, wider beams and larger vocabularies, and sampling."""
    captioner = endless_captioner(VOCAB_SIZE)
    rng = np.random.default_rng(1)
    grid = rng.standard_normal((PHOTOS, CELLS, CHANNELS), np.float32)
    yield from measure_against_classic(captioner, grid)
    yield from measure_growth(grid)
    yield measure_sampling(captioner, grid[:64])


def measure_against_classic(captioner: keras.Model, grid: np.ndarray) -> Iterator[Row]:
    """Seconds per caption of the tutorials' loop, and how much faster the searches are."""
    model = sequence_model(captioner)

    def decode(beam_width: int, photos: int = PHOTOS) -> None:
        generate(captioner, grid[:photos], CONFIG, beam_width, progress=False)

    # Trace the graphs before the clock runs.
    decode(1, 64)
    decode(3, 64)
    classic_greedy(model, grid)
    greedy, beam, classic = median_seconds(
        lambda: decode(1), lambda: decode(3), lambda: classic_greedy(model, grid), repeats=3
    )
    classic_per_caption = classic / CLASSIC_PHOTOS
    yield "classic loop, seconds per caption", f"{classic_per_caption:.3f}", "-"
    ratio = classic_per_caption / (greedy / PHOTOS)
    yield "greedy, 1,000 photos: times faster per caption", f"{ratio:.0f}", "150"
    ratio = classic_per_caption / (beam / PHOTOS)
    yield "beam 3, 1,000 photos: times faster per caption", f"{ratio:.0f}", "60"


def measure_growth(grid: np.ndarray) -> Iterator[Row]:
    """128 captions with wider beams and a larger vocabulary, against greedy search."""
    searches = {}
    for vocab_size in (VOCAB_SIZE, 4 * VOCAB_SIZE):
        captioner = endless_captioner(vocab_size)
        for width in (1, 3, 5, 10):
            searches[vocab_size, width] = partial(
                generate, captioner, grid[:128], CONFIG, width, progress=False
            )
    for search in searches.values():
        search()  # traces its graph
    medians = median_seconds(*searches.values(), repeats=3)
    durations = dict(zip(searches, medians, strict=True))
    baseline = durations.pop((VOCAB_SIZE, 1))
    for (vocab_size, width), duration in durations.items():
        what = f"beam {width} of {vocab_size:,} tokens / greedy of {VOCAB_SIZE:,}"
        yield what, f"{duration / baseline:.1f}", "-"


def measure_sampling(captioner: keras.Model, grid: np.ndarray) -> Row:
    """Five sampled captions for each photo of a batch."""
    sampling = partial(sample, captioner, grid, CONFIG, samples=5, batch_size=64, progress=False)
    sampling()  # traces its graph
    (duration,) = median_seconds(sampling)
    return "320 sampled captions, seconds", f"{duration:.2f}", "-"


def endless_captioner(vocab_size: int) -> keras.Model:
    """A captioner that never ends a caption by itself."""
    captioner = build_captioner(CHANNELS, vocab_size, CONFIG)
    bias = np.zeros(vocab_size, np.float32)
    bias[EOS_ID] = -99
    captioner.bias.assign(bias)
    return captioner


def sequence_model(captioner: keras.Model) -> keras.Model:
    """The captioner as tutorials build it: features and a padded prefix in, logits out."""
    features = keras.Input((CELLS, CHANNELS))
    token_ids = keras.Input((CONFIG.max_length,), dtype="int32")
    return keras.Model([features, token_ids], SequenceLayer(captioner)([features, token_ids]))


class SequenceLayer(keras.layers.Layer):
    """A captioner as a layer, so that `predict` can be called on a model of it."""

    def __init__(self, captioner: keras.Model):
        super().__init__()
        self.captioner = captioner

    def call(self, inputs):
        """The logits of all time steps."""
        return self.captioner(inputs)

    def compute_output_shape(self, shapes):
        """`(batch, time, vocab_size)`."""
        return (*shapes[1], VOCAB_SIZE)


def classic_greedy(model: keras.Model, grid: np.ndarray) -> None:
    """Caption the first photos token by token, each by a `predict` of the padded prefix."""
    for photo in grid[:CLASSIC_PHOTOS]:
        token_ids = np.full((1, CONFIG.max_length), PAD_ID, np.int32)
        token_ids[0, 0] = BOS_ID
        for position in range(MEAN_LENGTH):
            logits = model.predict([photo[None], token_ids], verbose=0)[0, position]
            logits[list(SUPPRESSED_IDS)] = -np.inf
            token_ids[0, position + 1] = logits.argmax()
