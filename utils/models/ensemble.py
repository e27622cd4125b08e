"""TODO"""

import tensorflow as tf


class Ensemble:
    """Captioners of other seeds as one: the mean of their probabilities chooses each word."""

    def __init__(self, members):
        self.members = members

    def __call__(self, inputs):
        """Logits for features and words of whole sentences."""
        return mean_log_probs([member(inputs) for member in self.members])

    def initial_state(self, features):
        """The members' states before the first word."""
        return [member.initial_state(features) for member in self.members]

    def decode_step(self, words, states):
        """Logits, states and the mean attention after one more word."""
        pairs = zip(self.members, states, strict=True)
        logits, states, attentions = zip(*(m.decode_step(words, s) for m, s in pairs), strict=True)
        return mean_log_probs(logits), list(states), tf.reduce_mean(attentions, axis=0)


def mean_log_probs(logits):
    """The logarithm of the mean of the probabilities."""
    logs = tf.nn.log_softmax(tf.cast(tf.stack(logits), tf.float32))
    return tf.reduce_logsumexp(logs, axis=0) - tf.math.log(float(len(logits)))
