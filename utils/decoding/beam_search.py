"""From logits to sentences: greedy, beam and sampling, over any captioner with the step interface.

The whole loop over words is one compiled graph: nothing returns to Python between two words, and
all photos of a batch and all captions of a photo move together.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, SUPPRESSED_IDS

NEG_INF = -1e9


@dataclass(frozen=True)
class GenerationOutput:
    """What search wrote: a row a photo; of sampling `(photos, samples, ...)`."""

    words: np.ndarray  # (photos, max_length) numbers; END where it ends, PAD after it
    log_probability: np.ndarray  # (photos,) of the whole caption, its end included
    ended: np.ndarray  # (photos,) whether it ended, or was cut at max_length
    attention: np.ndarray  # (photos, max_length, cells); no cells where the model does not attend


def generate(captioner, grid, config, beam_width=None, block_trigrams=False, **batching):
    """The best caption that search finds for each row of `grid`, `(photos, cells, channels)`.

    `beam_width` 1 is greedy search; `block_trigrams` forbids to say three words twice. `batching`
    is `rows` (only these), `batch` and `progress`. Taught in 04_evaluate.
    """
    width = beam_width or config.beam_width
    return in_batches(compiled_search(captioner, config, width, block_trigrams), grid, **batching)


def in_batches(graph, grid, rows=None, batch=64, progress=True, seed_generator=None):
    """Run a compiled search over rows of the grid, and no more of it is in memory than a batch.

    Every batch has the same shape, so that one graph serves all.
    """
    rows, parts = np.arange(len(grid)) if rows is None else np.asarray(rows, int), []
    with tqdm(total=len(rows), desc="writing", unit=" captions", disable=not progress) as bar:
        for start in range(0, max(1, len(rows)), batch):
            chosen = rows[start : start + batch]
            inputs = [np.asarray(grid[chosen])] + (
                [seed_generator(len(chosen))] if seed_generator else []
            )
            fill = [(0, batch - len(chosen)), (0, 0), (0, 0)]
            outputs = graph(*(np.pad(part, fill) for part in inputs))
            parts.append([np.asarray(part)[: len(chosen)] for part in outputs])
            bar.update(len(chosen))
    return GenerationOutput(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@lru_cache(maxsize=4)
def compiled_search(captioner, config, width, block_trigrams=False, sampling=None):
    """`search` as a compiled graph; asked for again, the same one, so it is traced once."""
    choices = captioner, config, width, block_trigrams, sampling
    return tf.function(lambda *inputs: search(*choices, *inputs))


def search(captioner, config, width, block_trigrams, sampling, features, seed_generator=None):
    """The loop over words for `width` captions a photo: what `Written` holds, as tensors."""
    photos, longest = features.shape[0], config.max_length
    state = repeat_state(captioner.initial_state(features), width)
    last = tf.fill([photos * width], BOS_ID)
    cells = captioner.decode_step(last, state)[2].shape[
        -1
    ]  # asked for its shape only: it is never run
    words = tf.fill([photos, width, longest], PAD_ID)
    looked = tf.zeros([photos, width, longest, cells])
    # Only a photo's first beam counts at the start: otherwise all would write the same words.
    scores = tf.tile([[0.0] + [0.0 if sampling else NEG_INF] * (width - 1)], [photos, 1])

    for position in tf.range(longest):
        logits, after, attention = captioner.decode_step(last, state)
        gains = next_log_probs(
            tf.reshape(logits, [photos, width, -1]), words, position, block_trigrams
        )
        if sampling:
            scores, parents, chosen = sample_tokens(
                gains, scores, seed_generator[..., position], *sampling
            )
        else:
            scores, parents, chosen = expand_beams(gains, scores, words, config)
        seen = tf.gather(tf.reshape(attention, [photos, width, cells]), parents, batch_dims=1)
        words = scatter_at(tf.gather(words, parents, batch_dims=1), position, chosen)
        looked = scatter_at(tf.gather(looked, parents, batch_dims=1), position, seen)
        rows = tf.reshape(parents + width * tf.range(photos)[:, None], [-1])
        state, last = gather_beams(after, state, rows), tf.reshape(chosen, [-1])
        if tf.reduce_all(tf.reduce_any(words == EOS_ID, axis=-1)):
            break

    # A batch goes on until its last caption has ended: what others looked at since is noise.
    found = words, scores, tf.where((words != PAD_ID)[..., None], looked, 0.0)
    if not sampling:
        best = tf.argmax(length_normalized(scores, words, config), axis=-1, output_type=tf.int32)
        found = [tf.gather(tensor, best, batch_dims=1) for tensor in found]
    words, scores, looked = found
    return words, scores, tf.reduce_any(words == EOS_ID, axis=-1), looked


def repeat_state(state, times):
    """The state of a photo for so many captions of it, side by side."""
    return tf.nest.map_structure(lambda tensor: tf.repeat(tensor, times, axis=0), state)


def gather_beams(after, before, rows):
    """The state of the captions that go on. What a step hands on untouched stays as it is.

    That is the picture: the same for all captions of a photo, and by far the largest part.
    """
    return tf.nest.map_structure(
        lambda new, old: old if new is old else tf.gather(new, rows), after, before
    )


def next_log_probs(logits, words, position, block_trigrams):
    """Log-probabilities of each next word, `(photos, width, vocabulary)`."""
    vocabulary = logits.shape[-1]
    never = tf.reduce_sum(tf.one_hot(SUPPRESSED_IDS, vocabulary), axis=0)
    gains = tf.nn.log_softmax(tf.cast(logits, tf.float32)) + NEG_INF * never
    if block_trigrams:  # the third words of all runs that begin as the caption ends now
        before, last = (words[..., tf.maximum(position - back, 0), None] for back in (2, 1))
        met = (words[..., :-2] == before) & (words[..., 1:-1] == last)
        thirds = tf.one_hot(tf.where(met, words[..., 2:], PAD_ID), vocabulary)
        gains = tf.where(tf.reduce_any(thirds > 0, axis=2), NEG_INF, gains)
    # A finished caption has one way to go on: a padding word that costs nothing.
    ended = tf.reduce_any(words == EOS_ID, axis=-1)
    wait = tf.where(tf.range(vocabulary) == PAD_ID, 0.0, NEG_INF)
    return tf.where(ended[..., None], wait, gains)


def expand_beams(gains, scores, words, config):
    """One step for all photos: which beams go on, and with which word, `(photos, width)` each.

    Beams are compared by log-probability / words ** length_penalty, so that a longer caption is not
    punished for every word. A finished beam stays in the race, unchanged.
    """
    photos, width, vocabulary = gains.shape
    totals = scores[..., None] + gains
    more = tf.cast(~tf.reduce_any(words == EOS_ID, axis=-1), tf.int32)
    ranks = length_normalized(totals, words[..., None, :], config, more[..., None])
    _, index = tf.math.top_k(tf.reshape(ranks, [photos, width * vocabulary]), width)
    scores = tf.gather(tf.reshape(totals, [photos, -1]), index, batch_dims=1)
    return scores, index // vocabulary, index % vocabulary


def length_normalized(scores, words, config, more=0):
    """What beams are compared by, when `more` words come to those that they have."""
    lengths = tf.math.count_nonzero(words, axis=-1, dtype=tf.int32) + more
    return scores / tf.cast(lengths, tf.float32) ** config.length_penalty


def scatter_at(tensor, position, values):
    """`tensor` with `values` at `position` of its third axis (tensors can't be assigned to)."""
    at = tf.one_hot(position, tensor.shape[2], on_value=True, off_value=False, dtype=tf.bool)
    at = tf.reshape(at, [1, 1, -1] + [1] * (len(tensor.shape) - 3))
    return tf.where(at, tf.expand_dims(values, 2), tensor)


def sample_tokens(gains, scores, seed_generator, temperature, top_p):
    """One step of sampling: lay the probabilities end to end, and see where luck falls."""
    chances = tf.nn.softmax(gains / temperature)
    if top_p < 1:  # sorting all words is slow, so only where it is asked for
        chances, words = tf.math.top_k(chances, chances.shape[-1])
        chances = tf.where(tf.cumsum(chances, axis=-1, exclusive=True) < top_p, chances, 0.0)
    ends = tf.cumsum(chances, axis=-1)
    # The factor keeps rounding from carrying luck past the last word.
    passed = tf.cast(ends <= seed_generator[..., None] * ends[..., -1:] * (1 - 1e-6), tf.int32)
    chosen = tf.reduce_sum(passed, axis=-1)
    if top_p < 1:
        chosen = tf.gather(words, chosen, batch_dims=2)
    parents = tf.zeros_like(chosen) + tf.range(chosen.shape[1])
    return scores + tf.gather(gains, chosen, batch_dims=2), parents, chosen
