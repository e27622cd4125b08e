"""Several captioners that write together, and the whole of what was trained as one artifact.

Two captioners of the same settings and other seeds err in other places. Each word is chosen by the
mean of the probabilities that they give it.
"""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from utils.captioners import Sighted, build_captioner
from utils.features import open_eyes
from utils.settings import CaptionsError


class Ensemble:
    """Captioners with one vocabulary as one, to the outside a captioner for search and ranking."""

    def __init__(self, members):
        self.members = members

    def __call__(self, inputs):
        """Logits for features and words of whole sentences."""
        return together([member(inputs) for member in self.members])

    def start(self, features):
        """The members' states before the first word."""
        return [member.start(features) for member in self.members]

    def step(self, words, states):
        """Logits, states and the mean attention after one more word."""
        pairs = zip(self.members, states, strict=True)
        logits, states, attentions = zip(*(m.step(words, s) for m, s in pairs), strict=True)
        return together(logits), list(states), tf.reduce_mean(attentions, axis=0)


def together(logits):
    """The logarithm of the mean of the probabilities."""
    logs = tf.nn.log_softmax(tf.cast(tf.stack(logits), tf.float32))
    return tf.reduce_logsumexp(logs, axis=0) - tf.math.log(float(len(logits)))


def to_dict(captioner):
    """What was trained as plain data for the store: what it is, and its weights as arrays."""
    if isinstance(captioner, Ensemble):
        return {
            "members": [part for each in captioner.members for part in to_dict(each)["members"]]
        }
    eyes = {}
    if isinstance(captioner, Sighted):
        eyes = {"encoder": captioner.eyes.name, "eyes": captioner.eyes.get_weights()}
        captioner = captioner.captioner
    weights = {weight.path: np.asarray(weight) for weight in captioner.trainable_weights}
    known = {"channels": captioner.channels, "vocabulary": captioner.vocabulary}
    return {"members": [known | {"weights": weights} | eyes]}


def from_dict(data, settings):
    """The captioner, or the ensemble, that `to_dict` described; it writes with all the bits."""
    exact = replace(settings, precision="float32")
    members = [revived(member, exact) for member in data.get("members", ())]
    if not members:
        raise CaptionsError("captioner.pkl: holds no captioner: run 03_train again")
    return members[0] if len(members) == 1 else Ensemble(members)


def revived(data, settings):
    """One captioner, with its own eyes if it has any."""
    captioner = build_captioner(data["channels"], data["vocabulary"], settings)
    for weight in captioner.trainable_weights:
        if np.shape(data["weights"].get(weight.path)) != tuple(weight.shape):
            raise CaptionsError(f"captioner.pkl: {weight.path} does not fit: run 03_train again")
        weight.assign(data["weights"][weight.path])
    return Sighted(open_eyes(data), captioner) if "eyes" in data else captioner
