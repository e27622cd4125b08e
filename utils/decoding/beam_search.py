"""Greedy search and beam search, over any captioner with `initial_state` and `decode_step`."""

from typing import Any

import numpy as np
import tensorflow as tf

from utils.config import Config
from utils.decoding.decoding_loop import (
    NEG_INF,
    GenerationOutput,
    compiled_decoder,
    decode_in_batches,
    decode_loop,
    is_finished,
)
from utils.decoding.repetition import without_repetition


def generate(
    captioner: Any,
    grid: np.ndarray,
    config: Config,
    beam_width: int | None = None,
    no_repetition: bool = False,
    **batching: Any,
) -> GenerationOutput:
    """Generate the most likely caption that search finds for each photo.

    Args:
        captioner: The model.
        grid: Features `(photos, cells, channels)`.
        config: Gives `beam_width`, `length_penalty` and `max_length`.
        beam_width: In place of the configuration's; 1 is greedy search.
        no_repetition: Generate no token twice in a row, and no trigram twice in a caption.
        **batching: `rows`, `batch_size` and `progress` of `decode_in_batches`.

    Returns:
        One caption per photo, in the order of the rows.
    """
    beam_width = beam_width or config.beam_width
    options: dict[str, Any] = {"no_repetition": no_repetition}
    if beam_width == 1:
        graph = compiled_decoder(greedy_search, captioner, config, **options)
    else:
        graph = compiled_decoder(beam_search, captioner, config, beam_width=beam_width, **options)
    return decode_in_batches(graph, grid, **batching)


def greedy_search(
    captioner: Any, config: Config, features: Any, no_repetition: bool = False
) -> tuple[Any, Any, Any, Any]:
    """The most likely token at every step.

    Args:
        captioner: The model.
        config: Gives `max_length`.
        features: `(photos, cells, channels)`.
        no_repetition: As in `generate`.

    Returns:
        The tensors of a `GenerationOutput`.
    """

    def choose_most_likely(log_probs: Any, scores: Any, _token_ids: Any, _position: Any) -> Any:
        chosen = tf.argmax(log_probs, axis=-1, output_type=tf.int32)
        scores += tf.gather(log_probs, chosen, batch_dims=2)
        return scores, tf.zeros_like(chosen), chosen

    choose = without_repetition(choose_most_likely) if no_repetition else choose_most_likely
    scores = tf.zeros([features.shape[0], 1])
    outputs = decode_loop(captioner, config, features, scores, choose)
    token_ids, log_probs, attention_weights = [tensor[:, 0] for tensor in outputs]
    return token_ids, log_probs, is_finished(token_ids), attention_weights


def beam_search(
    captioner: Any, config: Config, features: Any, beam_width: int, no_repetition: bool = False
) -> tuple[Any, Any, Any, Any]:
    """The best sequence that `search_beams` finds for each photo.

    Args are those of `search_beams`.

    Returns:
        The tensors of a `GenerationOutput`.
    """
    outputs = search_beams(captioner, config, features, beam_width, no_repetition)
    token_ids, log_probs, _ = outputs
    ranks = length_normalized(log_probs, token_ids, config)
    best = tf.argmax(ranks, axis=-1, output_type=tf.int32)
    token_ids, log_probs, attention_weights = [
        tf.gather(tensor, best, batch_dims=1) for tensor in outputs
    ]
    return token_ids, log_probs, is_finished(token_ids), attention_weights


def search_beams(
    captioner: Any, config: Config, features: Any, beam_width: int, no_repetition: bool = False
) -> tuple[Any, Any, Any]:
    """Keep the best `beam_width` sequences of each photo at every step; return all of them.

    Args:
        captioner: The model.
        config: Gives `length_penalty` and `max_length`.
        features: `(photos, cells, channels)`.
        beam_width: Number of sequences per photo.
        no_repetition: As in `generate`.

    Returns:
        The tensors of `decode_loop`.
    """

    def choose_best_beams(log_probs: Any, scores: Any, token_ids: Any, _position: Any) -> Any:
        return expand_beams(log_probs, scores, token_ids, config)

    choose = without_repetition(choose_best_beams) if no_repetition else choose_best_beams
    # At the start only a photo's first beam counts: otherwise all beams would be the same.
    first_scores = [0.0] + [NEG_INF] * (beam_width - 1)
    scores = tf.tile([first_scores], [features.shape[0], 1])
    return decode_loop(captioner, config, features, scores, choose)


def expand_beams(
    log_probs: Any, scores: Any, token_ids: Any, config: Config
) -> tuple[Any, Any, Any]:
    """One step of beam search: the best continuations of all beams of each photo.

    Beams are ranked by log-probability / length ** length_penalty, since a sum of log-probabilities
    falls with every token. A finished beam keeps its rank and competes with the others.

    Args:
        log_probs: Of the next token, `(photos, beam_width, vocab_size)`.
        scores: Log-probabilities of the beams, `(photos, beam_width)`.
        token_ids: The beams, `(photos, beam_width, max_length)`.
        config: Gives `length_penalty`.

    Returns:
        New scores, the beam that each one continues, and its token, `(photos, beam_width)` each.
    """
    photos, beam_width, vocab_size = log_probs.shape
    totals = scores[..., None] + log_probs
    added = tf.cast(~is_finished(token_ids), tf.int32)
    ranks = length_normalized(totals, token_ids[..., None, :], config, added[..., None])
    _, index = tf.math.top_k(tf.reshape(ranks, [photos, beam_width * vocab_size]), beam_width)
    scores = tf.gather(tf.reshape(totals, [photos, -1]), index, batch_dims=1)
    return scores, index // vocab_size, index % vocab_size


def length_normalized(scores: Any, token_ids: Any, config: Config, added: Any = 0) -> Any:
    """What sequences are ranked by: log-probability / length ** length_penalty.

    Args:
        scores: Log-probabilities, `(...)`.
        token_ids: `(..., max_length)`.
        config: Gives `length_penalty`.
        added: Number of tokens that are about to be appended.
    """
    lengths = tf.math.count_nonzero(token_ids, axis=-1, dtype=tf.int32) + added
    return scores / tf.cast(lengths, tf.float32) ** config.length_penalty
