"""TODO"""

import tensorflow as tf

from utils.data.tokenizer import PAD_ID


def masked_loss(logits, targets, label_smoothing, weights=1.0):
    """Mean cross-entropy per word, padding left out, with label smoothing. Taught in 03_train.

    `weights`, `(captions, 1)`, says how much each caption counts.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    # All words share `label_smoothing` of the probability: their mean cost less the right word's.
    right = tf.gather(logits, targets, batch_dims=2)
    losses += label_smoothing * (right - tf.reduce_mean(logits, axis=-1))
    real = tf.cast(targets != PAD_ID, tf.float32)
    return tf.reduce_sum(weights * losses * real) / tf.reduce_sum(real)
