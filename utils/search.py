"""From logits to sentences: greedy and beam search over any captioner with the step interface.

The whole loop over words is one compiled graph: nothing returns to Python between two words, and
all photos of a batch and all beams of a photo move together.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.captioners import NEVER_WRITTEN
from utils.text import END, PAD, START

IMPOSSIBLE = -1e9


@dataclass(frozen=True)
class Written:
    """What search wrote: a row a photo, the best caption of each."""

    words: np.ndarray  # (photos, max_words) numbers; END where it ends, PAD after it
    log_probability: np.ndarray  # (photos,) of the whole caption, its end included
    ended: np.ndarray  # (photos,) whether it ended, or was cut at max_words
    attention: np.ndarray  # (photos, max_words, cells); no cells where the model does not attend


def write_captions(captioner, grid, settings, beam_width=None, batch=64, progress=True):
    """Captions for all rows of `grid`, `(photos, cells, channels)`, in batches.

    `beam_width` 1 is greedy search. Every batch has the same shape, so that one graph serves all.
    Taught in 04_evaluate.
    """
    graph = compiled_search(captioner, settings, beam_width or settings.beam_width)
    parts = []
    with tqdm(total=len(grid), desc="writing", unit=" captions", disable=not progress) as bar:
        for start in range(0, max(1, len(grid)), batch):
            rows = np.asarray(grid[start : start + batch])
            padded = np.zeros((batch, *rows.shape[1:]), rows.dtype)
            padded[: len(rows)] = rows
            parts.append([np.asarray(part)[: len(rows)] for part in graph(padded)])
            bar.update(len(rows))
    return Written(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@lru_cache(maxsize=2)
def compiled_search(captioner, settings, width):
    """Beam search as a compiled graph; asked for again, the same one, so it is traced once."""
    return tf.function(lambda features: beam_search(captioner, features, settings, width))


def beam_search(captioner, features, settings, width):
    """The best of `width` beams for each photo, as tensors; the body of the compiled graph.

    Beams are compared by log-probability / words ** length_power, so that a longer caption is not
    punished for every word. A finished beam stays in the race, unchanged.
    """
    photos, longest = features.shape[0], settings.max_words
    state = captioner.start(tf.repeat(features, width, axis=0))
    logits, state, attention = captioner.step(tf.fill([photos * width], START), state)
    cells = attention.shape[-1]
    words = tf.fill([photos, width, longest], PAD)
    looked = tf.zeros([photos, width, longest, cells])
    # Only the first beam counts at the start: otherwise all beams would write the same words.
    scores = tf.tile(tf.constant([[0.0] + [IMPOSSIBLE] * (width - 1)]), [photos, 1])
    lengths = tf.zeros([photos, width], tf.int32)

    for position in tf.range(longest):
        scores, lengths, parents, chosen = best_beams(logits, scores, lengths, words, settings)
        seen = tf.gather(tf.reshape(attention, [photos, width, cells]), parents, batch_dims=1)
        words = put(tf.gather(words, parents, batch_dims=1), position, chosen)
        looked = put(tf.gather(looked, parents, batch_dims=1), position, seen)
        if tf.reduce_all(tf.reduce_any(words == END, axis=-1)):
            break
        rows = tf.reshape(parents + width * tf.range(photos)[:, None], [-1])
        state = tf.nest.map_structure(lambda tensor, rows=rows: tf.gather(tensor, rows), state)
        logits, state, attention = captioner.step(tf.reshape(chosen, [-1]), state)

    best = tf.argmax(normalised(scores, lengths, settings), axis=-1, output_type=tf.int32)
    words, scores, looked = (
        tf.gather(tensor, best, batch_dims=1) for tensor in (words, scores, looked)
    )
    # A batch goes on until its last caption has ended: what others looked at since is noise.
    looked = tf.where((words != PAD)[..., None], looked, 0.0)
    return words, scores, tf.reduce_any(words == END, axis=-1), looked


def best_beams(logits, scores, lengths, words, settings):
    """One step for all photos: which beams go on, and with which word, `(photos, width)` each."""
    photos, width = scores.shape
    vocabulary = logits.shape[-1]
    never = tf.reduce_sum(tf.one_hot(NEVER_WRITTEN, vocabulary), axis=0)
    gains = tf.nn.log_softmax(logits) + IMPOSSIBLE * never
    gains = tf.reshape(gains, [photos, width, vocabulary])
    # A finished beam has one way to go on: a padding word that costs nothing.
    ended = tf.reduce_any(words == END, axis=-1)
    wait = tf.where(tf.range(vocabulary) == PAD, 0.0, IMPOSSIBLE)
    gains = tf.where(ended[..., None], wait, gains)

    totals = scores[..., None] + gains
    longer = lengths + tf.cast(~ended, tf.int32)
    ranks = normalised(totals, longer[..., None], settings)
    _, index = tf.math.top_k(tf.reshape(ranks, [photos, width * vocabulary]), width)
    parents, chosen = index // vocabulary, index % vocabulary
    scores = tf.gather(tf.reshape(totals, [photos, -1]), index, batch_dims=1)
    return scores, tf.gather(longer, parents, batch_dims=1), parents, chosen


def normalised(scores, lengths, settings):
    """What beams are compared by."""
    return scores / tf.cast(lengths, tf.float32) ** settings.length_power


def put(tensor, position, values):
    """`tensor` with `values` at `position` of its third axis (tensors can't be assigned to)."""
    at = tf.one_hot(position, tensor.shape[2], on_value=True, off_value=False, dtype=tf.bool)
    at = tf.reshape(at, [1, 1, -1] + [1] * (len(tensor.shape) - 3))
    return tf.where(at, tf.expand_dims(values, 2), tensor)
