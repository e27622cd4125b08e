"""A decoder without recurrence: each word looks back at all words before it, and at the picture.

It keeps the captioners' contract. In the step form the keys and values of the words read so far
are kept in a table of fixed length, so that search can reorder them like any state.
"""

import keras
import tensorflow as tf

from utils.models.captioners import CaptionModel

LAYERS, HEADS = 2, 8


class Block(keras.layers.Layer):
    """One layer: look back at the words, look at the picture, think; each adds to what comes in."""

    def __init__(self, config, name):
        super().__init__(name=name)
        units, rate = config.units, config.dropout
        widths = {"query": 1, "past": 2, "back": 1, "look": 1, "ahead": 1}
        self.dense = {
            part: keras.layers.Dense(times * units, name=f"{name}_{part}")
            for part, times in widths.items()
        }
        self.inner = keras.layers.Dense(4 * units, "gelu", name="inner")
        self.outer = keras.layers.Dense(units, name="outer")
        self.out = keras.layers.Dense(units, name="out")
        self.norms = [keras.layers.LayerNormalization(name=f"norm{n}") for n in range(3)]
        self.drop = keras.layers.Dropout(rate, seed=config.seed)

    def build(self, *_):
        """Its layers are built as they are used."""
        self.built = True

    def call(self, hidden, past, cells, place, mask, training=False):
        """Hidden `(batch, time, units)`, the table with these words' keys and values added."""
        level = self.norms[0](hidden)
        new = self.dense["past"](level)
        past += tf.einsum("btp,btd->bpd", tf.cast(place, new.dtype), new)
        looked, _ = mix(self.dense["query"](level), past, mask)
        hidden += self.drop(self.dense["back"](looked), training=training)
        looked, attention = mix(self.dense["look"](self.norms[1](hidden)), cells)
        hidden += self.drop(self.dense["ahead"](looked), training=training)
        thought = self.outer(self.drop(self.inner(self.norms[2](hidden)), training=training))
        return hidden + self.drop(thought, training=training), past, attention


def mix(queries, keys_and_values, mask=None):
    """Attention with several heads: `(batch, time, units)`, and its weights, their mean.

    There may be fewer rows of keys than of queries: a photo's sentences share its cells.
    """
    rows, (batch, time, units) = tf.shape(keys_and_values)[0], tf.unstack(tf.shape(queries))
    width = queries.shape[-1] // HEADS

    def heads(tensor):
        parts = tf.reshape(tensor, [rows, -1, HEADS, width])
        return tf.transpose(parts, [0, 2, 1, 3])

    keys, values = map(heads, tf.split(keys_and_values, 2, axis=-1))
    scores = tf.matmul(heads(queries), keys, transpose_b=True) / width**0.5
    if mask is not None:  # (batch, time, places)
        scores = tf.where(mask[:, None], scores, tf.constant(-1e4, scores.dtype))
    weights = tf.nn.softmax(scores)
    mixed = tf.transpose(tf.matmul(weights, values), [0, 2, 1, 3])
    shares = tf.reshape(tf.reduce_mean(weights, axis=1), [batch, time, -1])
    return tf.reshape(mixed, [batch, time, units]), shares


class Transformer(CaptionModel):
    """Causal self-attention over the words and cross-attention over the picture's cells."""

    def __init__(self, vocabulary, config, frequencies=None):
        super().__init__(vocabulary, config, frequencies)
        self.longest = config.max_length + 2
        self.widen = keras.layers.Dense(config.units, name="widen")
        self.blocks = [Block(config, f"block{n}") for n in range(LAYERS)]
        self.key_projection = keras.layers.Dense(2 * LAYERS * config.units, name="key_projection")
        self.places = self.add_weight(
            shape=(self.longest, config.units),
            initializer=keras.initializers.RandomNormal(stddev=0.02, seed=config.seed),
            name="places",
        )
        self.last = keras.layers.LayerNormalization(name="last")

    def initial_state(self, features, training=False):
        """The state before the first word: the cells' keys and values, and empty tables."""
        grid = self.dropout(self.layer_norm(tf.cast(features, tf.float32)), training=training)
        seen = self.key_projection(self.image_projection(grid))
        photos, width = tf.shape(grid)[0], seen.shape[-1] // LAYERS
        table = tf.zeros([photos, self.longest, width], seen.dtype)
        return {"keys": seen, "past": [table] * LAYERS, "read": tf.zeros([photos, 1], tf.int32)}

    def decode_sequence(self, words, state, training=False):
        """Logits, state, attention `(batch, time, cells)` after more words `(batch, time)`."""
        time = state["read"] + tf.range(tf.shape(words)[1])
        place = tf.one_hot(time, self.longest)
        mask = tf.range(self.longest) <= time[..., None]
        known = tf.gather(self.places, tf.minimum(time, self.longest - 1))  # beyond it is padding
        hidden = self.widen(self.embedding(words))
        hidden = self.dropout(hidden + tf.cast(known, hidden.dtype), training=training)
        past, cells = [], tf.split(state["keys"], LAYERS, axis=-1)
        for block, table, seen in zip(self.blocks, state["past"], cells, strict=True):
            hidden, table, attention = block(hidden, table, seen, place, mask, training=training)
            past.append(table)
        state = state | {"past": past, "read": state["read"] + tf.shape(words)[1]}
        return (
            self.compute_logits(self.last(hidden), training),
            state,
            tf.cast(attention, tf.float32),
        )
