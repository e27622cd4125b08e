"""The loss: cross-entropy of the next token, with padding masked out."""

from typing import Any

import tensorflow as tf

from utils.data.tokenizer import PAD_ID


def masked_loss(
    logits: Any, targets: Any, label_smoothing: float, caption_weights: Any = 1.0
) -> Any:
    """Mean cross-entropy per token in nats, padding left out.

    Args:
        logits: `(batch, time, vocab_size)`.
        targets: Token IDs `(batch, time)`.
        label_smoothing: Fraction of the target probability that is spread over the vocabulary.
        caption_weights: How much each caption counts, `(batch, 1)`; all the same by default.

    Returns:
        A scalar.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    # Smoothing moves a part of the target from the right token to the mean over all tokens, and
    # the cross-entropy is linear in the target.
    target_logits = tf.gather(logits, targets, batch_dims=2)
    losses += label_smoothing * (target_logits - tf.reduce_mean(logits, axis=-1))
    mask = tf.cast(targets != PAD_ID, tf.float32)
    return tf.reduce_sum(caption_weights * losses * mask) / tf.reduce_sum(mask)
