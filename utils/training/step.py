"""The optimizer and the compiled training step, on one device or several."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from utils.config import Config
from utils.devices import compile_graph, dtype_policy
from utils.training.loss import masked_loss

WARMUP_START = 0.1  # the fraction of the learning rate at which the warm-up starts

# (features, token_ids) -> (token_ids, caption_weights): the captions to train on in place of the
# given ones, `(photos, captions, time)`, and how much each counts, `(photos * captions, 1)`.
CaptionSampler = Callable[[Any, Any], tuple[Any, Any]]


def make_optimizer(config: Config, steps: int) -> Any:
    """Adam with a linear warm-up, a cosine decay to zero, and an EMA of the weights.

    Args:
        config: Gives `learning_rate`, `warmup_fraction`, `ema_momentum`.
        steps: Number of training steps.

    Returns:
        A Keras optimizer; in half precision it scales the loss, as small gradients would be zero in
        float16.
    """
    warmup_steps = max(1, int(steps * config.warmup_fraction))
    learning_rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=WARMUP_START * config.learning_rate,
        decay_steps=max(1, steps - warmup_steps),
        warmup_target=config.learning_rate,
        warmup_steps=warmup_steps,
    )
    optimizer = keras.optimizers.Adam(learning_rate, use_ema=True, ema_momentum=config.ema_momentum)
    if dtype_policy(config) == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def make_train_step(
    captioner: Any,
    optimizer: Any,
    config: Config,
    device_features: Any = None,
    caption_sampler: CaptionSampler | None = None,
) -> Callable[[Any, Any], Any]:
    """Compile one training step.

    Args:
        captioner: The model.
        optimizer: What `make_optimizer` returns, built.
        config: Gives `label_smoothing` and `clip_norm`.
        device_features: The feature grid, if it is on the devices.
        caption_sampler: Chooses other captions to train on, see `CaptionSampler`.

    Returns:
        A function of features `(photos, cells, channels)`, or with `device_features` of rows
        `(photos,)`, and of token IDs `(photos, captions, time)`. It updates the weights and returns
        the loss of the batch.
    """
    strategy = captioner.distribute_strategy
    weights = captioner.trainable_weights

    def replica_step(device_features: Any, features: Any, token_ids: Any) -> Any:
        """The step on one replica, for its part of the batch."""
        if device_features is not None:
            features = tf.gather(device_features, features)
        caption_weights = 1.0
        if caption_sampler:
            token_ids, caption_weights = caption_sampler(features, token_ids)
        captions = flatten_captions(token_ids)
        inputs = captions[:, :-1]
        targets = captions[:, 1:]
        tokens = tf.cast(tf.math.count_nonzero(targets), tf.float32)

        with tf.GradientTape() as tape:
            # 1. Forward pass: the logits of all next tokens at once (teacher forcing). Sampled
            # captions are scored by the policy that sampled them, so without dropout (on-policy).
            logits = captioner([features, inputs], training=caption_sampler is None)
            # 2. Loss: each replica counts by its share of the tokens in the whole batch.
            loss = masked_loss(logits, targets, config.label_smoothing, caption_weights)
            loss *= tokens / sum_over_replicas(tokens)
            scaled_loss = optimizer.scale_loss(loss)

        # 3. Gradients.
        gradients = tape.gradient(scaled_loss, weights)
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        apply_gradients(optimizer, gradients, weights, config)
        return loss

    def train_step(device_features: Any, features: Any, token_ids: Any) -> Any:
        losses = strategy.run(replica_step, args=(device_features, features, token_ids))
        return strategy.reduce("SUM", losses, axis=None)

    return partial(compile_graph(train_step), device_features)


def apply_gradients(
    optimizer: Any, gradients: list[Any], weights: list[Any], config: Config
) -> None:
    """Update the weights by the sum of all replicas' gradients, clipped; in a replica context."""
    replicas = tf.distribute.get_replica_context()

    # 4. All-reduce: the sum over replicas is the gradient of the whole batch.
    gradients = sum_over_replicas(gradients)

    # 5. Clip by the norm of all gradients together; they are still scaled like the loss.
    clip_norm = optimizer.scale_loss(config.clip_norm)
    gradients, _ = tf.clip_by_global_norm(gradients, clip_norm)

    # 6. Update the weights. In a replica context the optimizer sums over replicas once more, by an
    # `all_reduce` that a single replica can avoid, see `sum_over_replicas`. Loss scaling cannot.
    scales_loss = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if replicas.num_replicas_in_sync == 1 and not scales_loss:
        replicas.merge_call(lambda _: optimizer.apply(gradients, weights))
    else:
        gradients = [gradient / replicas.num_replicas_in_sync for gradient in gradients]
        optimizer.apply(gradients, weights)


def sum_over_replicas(values: Any) -> Any:
    """The sum of tensors over all replicas; in a replica context.

    A single replica gets its own tensors back. For these TensorFlow's `all_reduce` is the identity,
    too, but every trace of it adds a custom gradient to a global registry. This keeps the graph of
    the training step with all of its variables in memory until the process ends.
    """
    replicas = tf.distribute.get_replica_context()
    if replicas.num_replicas_in_sync == 1:
        return values
    return replicas.all_reduce("SUM", values)


def flatten_captions(token_ids: Any) -> Any:
    """The captions of all photos as one batch, padded to the longest: `(captions, time)`."""
    longest = tf.reduce_max(tf.math.count_nonzero(token_ids, axis=-1))
    return tf.reshape(token_ids[..., :longest], [-1, longest])
