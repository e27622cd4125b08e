"""Self-critical sequence training (SCST): train on CIDEr-D instead of the next token.

Cross-entropy asks for the next token of a human caption. Here the captioner samples whole captions,
and each is made more or less likely by how much its CIDEr-D is above or below that of the photo's
other samples (Rennie et al., 2017; the mean of the others as baseline is from Luo, 2020).
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from utils.config import Config
from utils.data.tokenizer import BOS_ID, PAD_ID
from utils.decoding.sampling import sample_sequences
from utils.evaluation.metrics import References, cider_d
from utils.training.step import CaptionSampler


def as_tokens(token_ids: Any) -> list[list[str]]:
    """Each sequence as a list of tokens, without padding and BOS.

    EOS is kept: without it in the score, captions would learn to stop in the middle of a sentence.
    The IDs serve as words, since CIDEr-D only compares them.
    """
    sequences = []
    for sequence in token_ids:
        sequences.append([str(token) for token in sequence if token not in (PAD_ID, BOS_ID)])
    return sequences


def idf_corpus(token_ids: np.ndarray) -> References:
    """The captions `(photos, captions, time)` from which document frequencies are counted."""
    return References([reference_tokens(captions) for captions in token_ids])


def reference_tokens(token_ids: np.ndarray) -> list[list[str]]:
    """The tokens of a photo's captions `(captions, time)`; rows of padding are no captions."""
    return as_tokens(token_ids[(token_ids != PAD_ID).any(axis=1)])


def advantage(scores: Any) -> Any:
    """The advantage over a leave-one-out baseline, the mean of the photo's other scores."""
    others = tf.reduce_sum(scores, axis=1, keepdims=True) - scores
    return scores - others / (scores.shape[1] - 1)


def self_critical_sampler(
    captioner: Any, config: Config, corpus_token_ids: np.ndarray, samples: int = 5
) -> CaptionSampler:
    """Make a caption sampler for `train`: sampled captions, weighted by their advantage.

    Args:
        captioner: The model that is trained.
        config: Gives `max_length`.
        corpus_token_ids: All training captions, `(photos, captions, time)`, for document
            frequencies.
        samples: Number of captions sampled for each photo.

    Returns:
        A function of features and token IDs, see `CaptionSampler`.
    """
    corpus = idf_corpus(corpus_token_ids)

    def score(token_ids: np.ndarray, sampled: np.ndarray) -> np.ndarray:
        """CIDEr-D of the sampled captions against the photos' own, `(photos, samples)`."""
        references = References([reference_tokens(captions) for captions in token_ids], corpus)
        photos = np.repeat(np.arange(len(sampled)), samples)
        captions = as_tokens(sampled.reshape(-1, sampled.shape[-1]))
        _, scores = cider_d(captions, references, photos)
        return scores.reshape(len(sampled), samples).astype(np.float32)

    def sample_captions(features: Any, token_ids: Any) -> tuple[Any, Any]:
        photos = token_ids.shape[0]
        noise_shape = (photos, samples, config.max_length)
        uniform_noise = keras.random.uniform(noise_shape, seed=captioner.seed_generator)
        sampled, *_ = sample_sequences(captioner, config, features, uniform_noise)
        scores = tf.numpy_function(score, [token_ids, sampled], tf.float32)
        scores = tf.ensure_shape(scores, (photos, samples))
        bos = tf.fill([photos, samples, 1], BOS_ID)
        captions = tf.concat([bos, sampled], axis=-1)
        return captions, tf.reshape(advantage(scores), [-1, 1])

    return sample_captions
