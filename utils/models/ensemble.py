"""Several captioners that decode together."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class Ensemble:
    """Captioners as one: each token is chosen by the mean of their probabilities.

    It has the interface of a captioner, except that it cannot be trained.
    """

    def __init__(self, members: list[Any]):
        """Combine captioners that share a vocabulary, usually trained with different seeds."""
        self.members = members

    def __call__(self, inputs: Any) -> Any:
        """Log probabilities `(batch, time, vocab_size)` for features and whole sequences."""
        member_logits = [member(inputs) for member in self.members]
        return mean_log_probs(member_logits)

    def initial_state(self, features: Any) -> list[dict]:
        """The state of every member before the first token."""
        return [member.initial_state(features) for member in self.members]

    def decode_step(self, token_ids: Any, states: list[dict]) -> tuple[Any, list[dict], Any]:
        """Decode one more token `(batch,)`.

        Returns:
            Log probabilities `(batch, vocab_size)`, the members' new states, and the mean of their
            attention weights `(batch, cells)`.
        """
        member_logits = []
        new_states = []
        member_attention = []
        for member, state in zip(self.members, states, strict=True):
            logits, new_state, attention_weights = member.decode_step(token_ids, state)
            member_logits.append(logits)
            new_states.append(new_state)
            member_attention.append(attention_weights)
        log_probs = mean_log_probs(member_logits)
        return log_probs, new_states, tf.reduce_mean(member_attention, axis=0)


def mean_log_probs(member_logits: Sequence[Any]) -> Any:
    """The logarithm of the mean of the members' probabilities."""
    log_probs = tf.nn.log_softmax(tf.cast(tf.stack(member_logits), tf.float32))
    return tf.reduce_logsumexp(log_probs, axis=0) - tf.math.log(float(len(member_logits)))
