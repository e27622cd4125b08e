"""The models: image features in, words out. Two kinds, one contract.

A captioner has two ways in, which agree:
- `captioner([features, words])` gives the logits after every word of whole sentences at once
  (teacher forcing, for training);
- `captioner.start(features)` and `captioner.step(words, state)` give them one word at a time
  (for search), with the attention over the picture's cells where the model has any.

Features are a grid, `(batch, cells, channels)`; a pooled vector is a grid of one cell. All states
are nested tensors whose first axis is the batch, so search can reorder them without knowing more.
"""

import keras
import numpy as np
import tensorflow as tf

from utils.settings import CaptionsError
from utils.text import PAD, START, UNKNOWN


class CaptionModel(keras.Model):
    """What both kinds share: words in (an embedding) and words out (the same table, transposed).

    A word's row in the table says what it means, coming in and going out, so few data teach it
    twice. The output bias starts at the log frequency of the words: the model need not learn
    first that "a" is frequent.
    """

    def __init__(self, vocabulary, settings, frequencies=None):
        super().__init__(name=settings.captioner)
        self.embed = keras.layers.Embedding(vocabulary, settings.embedding, name="words")
        self.level = keras.layers.LayerNormalization(name="level")
        self.picture = keras.layers.Dense(settings.units, "tanh", name="picture")
        self.narrow = keras.layers.Dense(settings.embedding, name="narrow")
        self.drop = keras.layers.Dropout(settings.dropout, seed=settings.seed)
        bias = np.zeros(vocabulary) if frequencies is None else np.log(frequencies)
        self.bias = self.add_weight(
            shape=(vocabulary,), initializer=keras.initializers.Constant(bias), name="bias"
        )

    def logits(self, hidden, training=False):
        """Scores of all words, `(..., vocabulary)`, from hidden states `(..., units)`."""
        narrow = self.drop(self.narrow(hidden), training=training)
        return tf.matmul(narrow, self.embed.embeddings, transpose_b=True) + self.bias


class Merge(CaptionModel):
    """The classic: the LSTM reads words only, and meets the picture before the softmax.

    Taught in 03_train.
    """

    def __init__(self, vocabulary, settings, frequencies=None):
        super().__init__(vocabulary, settings, frequencies)
        self.lstm = keras.layers.LSTM(
            settings.units, return_sequences=True, return_state=True, name="language"
        )

    def call(self, inputs, training=False):
        """Logits `(batch, time, vocabulary)` for features and words `(batch, time)`."""
        features, words = inputs
        picture = self.look(features, training)
        hidden = self.lstm(self.drop(self.embed(words), training=training))[0]
        return self.logits(hidden + picture[:, None], training)

    def look(self, features, training=False):
        """The picture as one vector, `(batch, units)`."""
        pooled = self.level(tf.reduce_mean(tf.cast(features, tf.float32), axis=1))
        return self.picture(self.drop(pooled, training=training))

    def start(self, features):
        """The state before the first word."""
        picture = self.look(features)
        return {"picture": picture, "lstm": [tf.zeros_like(picture), tf.zeros_like(picture)]}

    def step(self, words, state):
        """Logits `(batch, vocabulary)` after one more word `(batch,)`, the state, and no attention.

        It looks at no cell: `(batch, 0)`.
        """
        hidden, *lstm = self.lstm(self.embed(words[:, None]), initial_state=state["lstm"])
        logits = self.logits(hidden[:, 0] + state["picture"])
        return logits, {**state, "lstm": lstm}, tf.zeros([len(words), 0])


class Attention(CaptionModel):
    """Two LSTMs with attention between them: read the words, look, write.

    The first LSTM never sees what was looked at, so a whole sentence runs through it at once, all
    looks are one matrix product, and the second LSTM follows: three fast steps instead of a loop
    over words. Taught in 03_train.
    """

    def __init__(self, vocabulary, settings, frequencies=None):
        super().__init__(vocabulary, settings, frequencies)
        lstm = {"return_sequences": True, "return_state": True}
        self.first = keras.layers.LSTM(settings.units, **lstm, name="read")
        self.second = keras.layers.LSTM(settings.units, **lstm, name="write")
        self.cells = keras.layers.Dense(settings.units, name="cells")
        self.query = keras.layers.Dense(settings.units, use_bias=False, name="query")

    def call(self, inputs, training=False):
        """Logits `(batch, time, vocabulary)` for features and words `(batch, time)`."""
        features, words = inputs
        state = self.start(features, training)
        return self.steps(words, state, training)[0]

    def start(self, features, training=False):
        """The state before the first word: the picture's cells, and its mean as a first thought."""
        grid = self.drop(self.level(tf.cast(features, tf.float32)), training=training)
        thought = self.picture(tf.reduce_mean(grid, axis=1))
        nothing = tf.zeros_like(thought)
        return {
            "cells": self.cells(grid),
            "first": [thought, nothing],
            "second": [nothing, nothing],
        }

    def step(self, words, state):
        """Logits `(batch, vocabulary)` after one more word, state, attention `(batch, cells)`."""
        logits, state, attention = self.steps(words[:, None], state)
        return logits[:, 0], state, attention[:, 0]

    def steps(self, words, state, training=False):
        """Any number of words at once: `call` gives whole sentences, `step` one word."""
        embedded = self.drop(self.embed(words), training=training)
        read, *first = self.first(embedded, initial_state=state["first"])
        looked, attention = self.attend(self.query(read), state["cells"])
        both = self.drop(tf.concat([read, looked], axis=-1), training=training)
        written, *second = self.second(both, initial_state=state["second"])
        logits = self.logits(written + looked, training)
        return logits, {**state, "first": first, "second": second}, attention

    @staticmethod
    def attend(queries, cells):
        """Mix the cells for each query: `(batch, time, units)`, and with which weights."""
        scores = tf.matmul(queries, cells, transpose_b=True) / queries.shape[-1] ** 0.5
        attention = tf.nn.softmax(scores, axis=-1)
        return tf.matmul(attention, cells), attention


CAPTIONERS = {"merge": Merge, "attention": Attention}


def build_captioner(channels, vocabulary, settings, frequencies=None):
    """A captioner of the kind that the settings name, with its weights made from its seed."""
    if settings.captioner not in CAPTIONERS:
        raise CaptionsError(
            f"setting 'captioner={settings.captioner}': there is none of that name: "
            + ", ".join(CAPTIONERS)
        )
    keras.utils.set_random_seed(settings.seed)
    captioner = CAPTIONERS[settings.captioner](vocabulary, settings, frequencies)
    captioner([np.zeros((1, 1, channels), np.float32), np.full((1, 2), START, np.int32)])
    return captioner


def word_frequencies(words, vocabulary):
    """How likely each word is as a target, `(vocabulary,)`; never quite 0."""
    counts = np.bincount(words[:, 1:].ravel(), minlength=vocabulary).astype(np.float64)
    counts[[PAD, START]] = 0
    return (counts + 0.1) / (counts + 0.1).sum()


# Words that search never chooses.
NEVER_WRITTEN = (PAD, START, UNKNOWN)


def to_dict(captioner, channels):
    """The captioner as plain data for the store: what it is, and its weights as arrays."""
    return {
        "channels": channels,
        "vocabulary": captioner.embed.input_dim,
        "weights": {weight.path: np.asarray(weight) for weight in captioner.trainable_weights},
    }


def from_dict(data, settings):
    """The captioner that `to_dict` described."""
    captioner = build_captioner(data["channels"], data["vocabulary"], settings)
    for weight in captioner.trainable_weights:
        weight.assign(data["weights"][weight.path])
    return captioner
