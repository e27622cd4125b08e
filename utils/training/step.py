"""TODO"""

from functools import partial

import keras
import tensorflow as tf

from utils.devices import dtype_policy
from utils.training.loss import masked_loss

CLIP_NORM = 2.0  # the longest that the gradient may be


def make_optimizer(config, steps):
    """AdamW with a short warm-up and a cosine to zero, and a moving average of the weights."""
    warm, rate = max(1, steps // 10), config.learning_rate
    cosine = keras.optimizers.schedules.CosineDecay(
        rate / 10, max(1, steps - warm), warmup_target=rate, warmup_steps=warm
    )
    average = {"use_ema": True, "ema_momentum": config.ema_momentum}
    return keras.optimizers.AdamW(cosine, weight_decay=1e-3, **average)


def make_train_step(captioner, optimizer, config, table=None, lesson=None):
    """The compiled step: gradients of each device's share, their sum, one update everywhere.

    It takes features and words `(photos, captions, time)`, and returns the loss of the batch. With
    a `table`, the grid on the devices, it takes rows of it for features. A `lesson` puts other
    captions in the place of people's, and says how much each counts.
    """
    strategy, weights = captioner.distribute_strategy, captioner.trainable_weights
    # Half a float knows no number below 6e-8: its gradients are kept larger.
    scale = 4096.0 if dtype_policy(config) == "mixed_float16" else 1.0

    def share(table, features, words):
        features = features if table is None else tf.gather(table, features)
        words, worth = lesson(features, words) if lesson else (words, 1.0)
        longest = tf.reduce_max(tf.math.count_nonzero(words, axis=-1))
        sentences = tf.reshape(words[..., :longest], [-1, longest])
        count = tf.cast(tf.math.count_nonzero(sentences[:, 1:]), tf.float32)
        context = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            logits = captioner([features, sentences[:, :-1]], training=True)
            loss = masked_loss(logits, sentences[:, 1:], config.label_smoothing, worth)
            loss *= count / context.all_reduce("SUM", count)
            scaled = loss * scale
        gradients = [tf.convert_to_tensor(part) for part in tape.gradient(scaled, weights)]
        gradients = context.all_reduce("SUM", gradients)
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP_NORM * scale)
        again = scale * strategy.num_replicas_in_sync  # the optimizer sums over devices once more
        optimizer.apply([gradient / again for gradient in gradients], weights)
        return loss

    @tf.function
    def step(table, features, words):
        losses = strategy.run(share, args=(table, features, words))
        return strategy.reduce("SUM", losses, axis=None)

    return partial(step, table)
