"""The decoding loop that greedy search, beam search and sampling share.

The whole loop over tokens is one compiled graph: control does not return to Python between two
tokens, and all photos of a batch and all captions of a photo are decoded at once. Of a captioner it
uses only `initial_state` and `decode_step`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.config import Config
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, SUPPRESSED_IDS
from utils.feature_grids import read_rows

NEG_INF = -1e9

# (log_probs, scores, token_ids, position) -> (scores, parents, chosen). `log_probs` are those of
# the next token, `(photos, sequences, vocab_size)`; all others are `(photos, sequences)`, but
# `token_ids`, `(photos, sequences, max_length)`. `parents` says which sequence each one continues.
ChooseTokens = Callable[[Any, Any, Any, Any], tuple[Any, Any, Any]]


@dataclass(frozen=True)
class GenerationOutput:
    """Generated captions, one row per photo; sampling returns `(photos, samples, ...)`.

    Attributes:
        token_ids: `(photos, max_length)`, without BOS, with EOS where the caption ends, then PAD.
        log_probs: `(photos,)`, log-probability of the whole caption, EOS included.
        finished: `(photos,)`, False where the caption was cut at `max_length`.
        attention_weights: `(photos, max_length, cells)`; no cells where the model has no attention.
    """

    token_ids: np.ndarray
    log_probs: np.ndarray
    finished: np.ndarray
    attention_weights: np.ndarray


def decode_loop(
    captioner: Any, config: Config, features: Any, scores: Any, choose_tokens: ChooseTokens
) -> tuple[Any, Any, Any]:
    """Extend all sequences of all photos token by token until each of them has ended.

    Args:
        captioner: A model with `initial_state` and `decode_step`.
        config: Gives `max_length`.
        features: `(photos, cells, channels)`.
        scores: `(photos, sequences)`, the log-probabilities to start from.
        choose_tokens: Chooses the next token of each sequence, see `ChooseTokens`.

    Returns:
        Token IDs `(photos, sequences, max_length)`, log-probabilities `(photos, sequences)`, and
        attention weights `(photos, sequences, max_length, cells)`.
    """
    photos, sequences = scores.shape
    state = repeat_state(captioner.initial_state(features), sequences)
    last_tokens = tf.fill([photos * sequences], BOS_ID)
    # Only the shape of this step is used, so the compiled graph never runs it.
    _, _, example_weights = captioner.decode_step(last_tokens, state)
    cells = example_weights.shape[-1]
    token_ids = tf.fill([photos, sequences, config.max_length], PAD_ID)
    attention_weights = tf.zeros([photos, sequences, config.max_length, cells])

    for position in tf.range(config.max_length):
        # 1. One step of the decoder for every sequence.
        logits, next_state, weights = captioner.decode_step(last_tokens, state)
        weights = tf.reshape(weights, [photos, sequences, cells])
        log_probs = next_log_probs(tf.reshape(logits, [photos, sequences, -1]), token_ids)

        # 2. Which sequences are continued, and with which token.
        scores, parents, chosen = choose_tokens(log_probs, scores, token_ids, position)

        # 3. Append the tokens, and let the state follow the sequences.
        token_ids = tf.gather(token_ids, parents, batch_dims=1)
        token_ids = scatter_at(token_ids, position, chosen)
        attention_weights = tf.gather(attention_weights, parents, batch_dims=1)
        weights = tf.gather(weights, parents, batch_dims=1)
        attention_weights = scatter_at(attention_weights, position, weights)
        state = gather_beams(next_state, state, parents)
        last_tokens = tf.reshape(chosen, [-1])

        if tf.reduce_all(is_finished(token_ids)):
            break

    # The loop runs until the last caption has ended: the weights of the others' padding are noise.
    attention_weights = tf.where((token_ids != PAD_ID)[..., None], attention_weights, 0.0)
    return token_ids, scores, attention_weights


def is_finished(token_ids: Any) -> Any:
    """Whether each sequence of `(..., max_length)` has an EOS token."""
    return tf.reduce_any(token_ids == EOS_ID, axis=-1)


def repeat_state(state: Any, times: int) -> Any:
    """Repeat each photo's state `times` times, once for each of its sequences."""
    return tf.nest.map_structure(lambda tensor: tf.repeat(tensor, times, axis=0), state)


def gather_beams(next_state: Any, state: Any, parents: Any) -> Any:
    """The state of the sequences that are continued, `parents` of `(photos, sequences)`.

    A tensor that the step returned untouched stays as it is: this is what was computed from the
    photo, the same for all of its sequences and by far the largest part of the state.
    """
    photos, sequences = parents.shape
    rows = tf.reshape(parents + sequences * tf.range(photos)[:, None], [-1])

    def gather(new: Any, old: Any) -> Any:
        return old if new is old else tf.gather(new, rows)

    return tf.nest.map_structure(gather, next_state, state)


def next_log_probs(logits: Any, token_ids: Any) -> Any:
    """Log-probabilities of the next token, with what must not be generated set to `NEG_INF`.

    Args:
        logits: `(photos, sequences, vocab_size)`.
        token_ids: `(photos, sequences, max_length)`, what was generated so far.

    Returns:
        `(photos, sequences, vocab_size)`. A finished sequence can only be padded, at no cost.
    """
    vocab_size = logits.shape[-1]
    suppressed = tf.reduce_sum(tf.one_hot(SUPPRESSED_IDS, vocab_size), axis=0)
    log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32)) + NEG_INF * suppressed
    padding_only = tf.where(tf.range(vocab_size) == PAD_ID, 0.0, NEG_INF)
    return tf.where(is_finished(token_ids)[..., None], padding_only, log_probs)


def scatter_at(tensor: Any, position: Any, values: Any) -> Any:
    """A copy of `tensor` with `values` at `position` of its third axis."""
    mask = tf.one_hot(position, tensor.shape[2], on_value=True, off_value=False, dtype=tf.bool)
    mask = tf.reshape(mask, [1, 1, -1] + [1] * (len(tensor.shape) - 3))
    return tf.where(mask, tf.expand_dims(values, 2), tensor)


@lru_cache(maxsize=4)
def compiled_decoder(decoder: Callable, captioner: Any, config: Config, **options: Any) -> Any:
    """A decoding function as a compiled graph; cached, so that it is traced once.

    Args:
        decoder: `greedy_search`, `beam_search` or `sample_sequences`.
        captioner: The model.
        config: The configuration.
        **options: Further arguments of `decoder`.

    Returns:
        A function of the decoder's tensors, e.g. of `features`.
    """
    # TensorFlow warns of too many traces of one function; each of these is a function of its own.
    return tf.function(partial(decoder, captioner, config, **options))


def decode_in_batches(
    graph: Callable,
    grid: np.ndarray,
    rows: Sequence[int] | np.ndarray | None = None,
    batch_size: int = 64,
    progress: bool = True,
    make_noise: Callable[[int], np.ndarray] | None = None,
) -> GenerationOutput:
    """Run a compiled decoder over rows of the grid, with one batch at a time in memory.

    Every batch has the same shape, the last one padded, so that one graph serves all.

    Args:
        graph: What `compiled_decoder` returns.
        grid: Features `(photos, cells, channels)`; a memory map is read batch by batch.
        rows: The rows to decode, in this order; all by default.
        batch_size: Photos per batch.
        progress: Whether to show a progress bar.
        make_noise: Given a number of photos, returns their random numbers, for sampling.

    Returns:
        The captions of all rows.
    """
    rows = np.arange(len(grid)) if rows is None else np.asarray(rows, int)
    outputs = []
    with tqdm(total=len(rows), desc="decoding", unit=" captions", disable=not progress) as bar:
        for start in range(0, max(1, len(rows)), batch_size):  # no rows still give empty arrays
            batch_rows = rows[start : start + batch_size]
            size = len(batch_rows)
            inputs = [read_rows(grid, batch_rows)]
            if make_noise:
                inputs.append(make_noise(size))
            padding = [(0, batch_size - size), (0, 0), (0, 0)]
            tensors = graph(*[np.pad(array, padding) for array in inputs])
            outputs.append([np.asarray(tensor)[:size] for tensor in tensors])
            bar.update(size)
    return GenerationOutput(*[np.concatenate(parts) for parts in zip(*outputs, strict=True)])
