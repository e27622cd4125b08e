"""Captions that are sampled token by token from the captioner's probabilities."""

from typing import Any

import numpy as np
import tensorflow as tf

from utils.config import Config
from utils.decoding.decoding_loop import (
    GenerationOutput,
    compiled_decoder,
    decode_in_batches,
    decode_loop,
    is_finished,
)


def sample(
    captioner: Any,
    grid: np.ndarray,
    config: Config,
    samples: int = 5,
    seed: int = 1,
    **batching: Any,
) -> GenerationOutput:
    """Sample several captions for each photo.

    Args:
        captioner: The model.
        grid: Features `(photos, cells, channels)`.
        config: Gives `max_length`.
        samples: Number of captions per photo.
        seed: Same seed, same captions, whatever the batch size.
        **batching: `rows`, `batch_size` and `progress` of `decode_in_batches`.

    Returns:
        Arrays of shape `(photos, samples, ...)`.
    """
    rng = np.random.default_rng(seed)

    def make_noise(photos: int) -> np.ndarray:
        # Drawn photo by photo, so that the batch size does not change the captions.
        return rng.random((photos, samples, config.max_length), np.float32)

    graph = compiled_decoder(sample_sequences, captioner, config)
    return decode_in_batches(graph, grid, make_noise=make_noise, **batching)


def sample_sequences(
    captioner: Any, config: Config, features: Any, uniform_noise: Any
) -> tuple[Any, Any, Any, Any]:
    """Sample as many captions for each photo as there are rows of noise.

    Args:
        captioner: The model.
        config: Gives `max_length`.
        features: `(photos, cells, channels)`.
        uniform_noise: `(photos, samples, max_length)` in [0, 1), a number for each token.

    Returns:
        The tensors of a `GenerationOutput`.
    """

    def choose_at_random(log_probs: Any, scores: Any, _token_ids: Any, position: Any) -> Any:
        return sample_tokens(log_probs, scores, uniform_noise[..., position])

    scores = tf.zeros(uniform_noise.shape[:2])
    token_ids, log_probs, attention_weights = decode_loop(
        captioner, config, features, scores, choose_at_random
    )
    return token_ids, log_probs, is_finished(token_ids), attention_weights


def sample_tokens(log_probs: Any, scores: Any, uniform_noise: Any) -> tuple[Any, Any, Any]:
    """One step of inverse transform sampling.

    Args:
        log_probs: Of the next token, `(photos, samples, vocab_size)`.
        scores: Log-probabilities of the sequences, `(photos, samples)`.
        uniform_noise: `(photos, samples)` in [0, 1).

    Returns:
        New scores, the sequence that each one continues (itself), and its token.
    """
    cumulative = tf.cumsum(tf.nn.softmax(log_probs), axis=-1)
    # The factor keeps rounding from passing the last token.
    threshold = uniform_noise[..., None] * cumulative[..., -1:] * (1 - 1e-6)
    chosen = tf.reduce_sum(tf.cast(cumulative <= threshold, tf.int32), axis=-1)
    parents = tf.zeros_like(chosen) + tf.range(chosen.shape[1])
    return scores + tf.gather(log_probs, chosen, batch_dims=2), parents, chosen
