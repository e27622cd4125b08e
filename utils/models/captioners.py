"""The models: image features in, words out. Three kinds, with top_blocks or in an ensemble: one contract.

A captioner has two ways in, which agree:
- `captioner([features, words])` gives the logits after every word of whole sentences at once
  (teacher forcing, for training);
- `captioner.initial_state(features)` and `captioner.decode_step(words, state)` give them one word at a time
  (for search), with the attention over the picture's cells where the model has any.

Features are a grid, `(batch, cells, channels)`; a pooled vector is a grid of one cell. All states
are nested tensors whose first axis is the batch, so search can reorder them without knowing more.
"""

import keras
import numpy as np
import tensorflow as tf

from utils.data.tokenizer import BOS_ID, PAD_ID
from utils.devices import dtype_policy

LSTM_OPTIONS = {"return_sequences": True, "return_state": True}


class CaptionModel(keras.Model):
    """What all kinds share: words in (an embedding) and words out (the same table, transposed).

    A word's row in the table says what it means, coming in and going out, so few data teach it
    twice. The output bias starts at the log frequency of the words: the model need not learn
    first that "a" is frequent. A kind adds `start`, and `steps` for any number of words at once.
    """

    def __init__(self, vocabulary, config, frequencies=None):
        super().__init__(name=config.decoder)
        self.vocabulary = vocabulary
        self.embed = keras.layers.Embedding(vocabulary, config.embedding_dim, name="words")
        self.level = keras.layers.LayerNormalization(name="level")
        self.picture = keras.layers.Dense(config.units, "tanh", name="picture")
        self.narrow = keras.layers.Dense(config.embedding_dim, name="narrow")
        self.drop = keras.layers.Dropout(config.dropout, seed=config.seed)
        self.seed_generator = keras.random.SeedGenerator(
            config.seed
        )  # for captions drawn while training
        bias = np.zeros(vocabulary) if frequencies is None else np.log(frequencies)
        self.bias = self.add_weight(
            shape=(vocabulary,), initializer=keras.initializers.Constant(bias), name="bias"
        )

    def call(self, inputs, training=False):
        """Logits `(sentences, time, vocabulary)` for features and words `(sentences, time)`.

        A photo may have several sentences, side by side: it is still looked at only once.
        """
        features, words = inputs
        state = self.initial_state(features, training)
        each = tf.shape(words)[0] // tf.shape(features)[0]
        cells = {name: state.pop(name) for name in ["cells"] if name in state}  # `attend` shares it
        state = tf.nest.map_structure(lambda tensor: tf.repeat(tensor, each, axis=0), state)
        return self.decode_sequence(words, state | cells, training)[0]

    def decode_step(self, words, state):
        """Logits `(batch, vocabulary)` after one more word `(batch,)`, state, attention.

        The attention is `(batch, cells)`; a model that looks at no cell has `(batch, 0)`.
        """
        logits, state, attention = self.decode_sequence(words[:, None], state)
        return logits[:, 0], state, attention[:, 0]

    def logits(self, hidden, training=False):
        """Scores of all words, `(..., vocabulary)`, from hidden states `(..., units)`."""
        narrow = self.drop(self.narrow(hidden), training=training)
        table = tf.cast(self.embed.embeddings, narrow.dtype)
        scores = tf.matmul(narrow, table, transpose_b=True)
        return tf.cast(scores, tf.float32) + tf.cast(self.bias, tf.float32)


class MergeCaptioner(CaptionModel):
    """The classic: the LSTM reads words only, and meets the picture before the softmax.

    Taught in 03_train.
    """

    def __init__(self, vocabulary, config, frequencies=None):
        super().__init__(vocabulary, config, frequencies)
        self.lstm = keras.layers.LSTM(config.units, **LSTM_OPTIONS, name="language")

    def encode_image(self, features, training=False):
        """The picture as one vector, `(batch, units)`, and zeros of that shape."""
        pooled = self.level(tf.reduce_mean(tf.cast(features, tf.float32), axis=1))
        picture = self.picture(self.drop(pooled, training=training))
        return picture, tf.zeros_like(picture)

    def initial_state(self, features, training=False):
        """The state before the first word."""
        picture, nothing = self.encode_image(features, training)
        return {"picture": picture, "lstm": [nothing, nothing]}

    def decode_sequence(self, words, state, training=False):
        """Logits and state after more words `(batch, time)`; it looks at no cell."""
        embedded = self.drop(self.embed(words), training=training)
        hidden, *lstm = self.lstm(embedded, initial_state=state["lstm"])
        logits = self.logits(hidden + state["picture"][:, None], training)
        return logits, state | {"lstm": lstm}, logits[..., :0]


class InjectCaptioner(MergeCaptioner):
    """The LSTM starts with the picture in mind, its hidden state. Taught in 03_train."""

    def initial_state(self, features, training=False):
        """The state before the first word; nothing is left to add before the softmax."""
        picture, nothing = self.encode_image(features, training)
        return {"picture": nothing, "lstm": [picture, nothing]}


class AttentionCaptioner(CaptionModel):
    """Two LSTMs with attention between them: read the words, look, write.

    The first LSTM never sees what was looked at, so a whole sentence runs through it at once, all
    looks are one matrix product, and the second LSTM follows: three fast steps instead of a loop
    over words. Taught in 03_train.
    """

    def __init__(self, vocabulary, config, frequencies=None):
        super().__init__(vocabulary, config, frequencies)
        self.first = keras.layers.LSTM(config.units, **LSTM_OPTIONS, name="read")
        self.second = keras.layers.LSTM(config.units, **LSTM_OPTIONS, name="write")
        self.cells = keras.layers.Dense(config.units, name="cells")
        self.query = keras.layers.Dense(config.units, use_bias=False, name="query")

    def initial_state(self, features, training=False):
        """The state before the first word: the picture's cells, and its mean as a first thought."""
        grid = self.drop(self.level(tf.cast(features, tf.float32)), training=training)
        thought = self.picture(tf.reduce_mean(grid, axis=1))
        nothing = tf.zeros_like(thought)
        return {"cells": self.cells(grid), "first": [thought, nothing], "second": [nothing] * 2}

    def decode_sequence(self, words, state, training=False):
        """Logits, state, attention `(batch, time, cells)` after more words `(batch, time)`."""
        embedded = self.drop(self.embed(words), training=training)
        read, *first = self.first(embedded, initial_state=state["first"])
        looked, attention = self.attend(self.query(read), state["cells"])
        both = self.drop(tf.concat([read, looked], axis=-1), training=training)
        written, *second = self.second(both, initial_state=state["second"])
        logits = self.logits(written + looked, training)
        return logits, state | {"first": first, "second": second}, tf.cast(attention, tf.float32)

    @staticmethod
    def attend(queries, cells):
        """Mix the cells for each query: `(batch, time, units)`, and with which weights.

        There may be fewer rows of cells than of queries: a photo's sentences share its cells.
        """
        asked = tf.reshape(queries, [tf.shape(cells)[0], -1, queries.shape[-1]])
        attention = tf.nn.softmax(
            tf.matmul(asked, cells, transpose_b=True) / asked.shape[-1] ** 0.5
        )
        looked = tf.reshape(tf.matmul(attention, cells), tf.shape(queries))
        return looked, tf.reshape(attention, [-1, tf.shape(queries)[1], cells.shape[1]])


CAPTIONERS = {"merge": MergeCaptioner, "inject": InjectCaptioner, "attention": AttentionCaptioner}


def build_captioner(channels, vocabulary, config, frequencies=None):
    """A captioner of the kind that the settings name, with its weights made from its seed."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(dtype_policy(config))
    captioner = CAPTIONERS[config.decoder](vocabulary, config, frequencies)
    keras.config.set_dtype_policy("float32")  # encoders count exactly: features must not differ
    captioner.channels = channels
    captioner([np.zeros((1, 1, channels), np.float32), np.full((1, 2), BOS_ID, np.int32)])
    return captioner


def token_frequencies(words, vocabulary):
    """How likely each word is as a target, `(vocabulary,)`; never quite 0."""
    counts = np.bincount(words[:, 1:].ravel(), minlength=vocabulary).astype(np.float64)
    counts[[PAD_ID, BOS_ID]] = 0
    return (counts + 0.1) / (counts + 0.1).sum()
