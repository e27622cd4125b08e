"""A transformer decoder: causal self-attention over the tokens, cross-attention over the image.

It implements the captioners' contract. In `decode_step` the keys and values of the tokens so far
are kept in a cache of fixed length, so that beam search can reorder them like any other state.
"""

import keras
import tensorflow as tf

from utils.models.captioners import CaptionModel

LAYERS = 2
HEADS = 8


class DecoderBlock(keras.layers.Layer):
    """Self-attention, cross-attention and a feed-forward network, each with a residual connection.

    Args:
        config: Gives the number of units, the dropout rate and the seed.
        name: The layer's name.
    """

    def __init__(self, config, name):
        super().__init__(name=name)
        units = config.units
        self.self_query = keras.layers.Dense(units, name="self_query")
        self.self_key_value = keras.layers.Dense(2 * units, name="self_key_value")
        self.self_output = keras.layers.Dense(units, name="self_output")
        self.cross_query = keras.layers.Dense(units, name="cross_query")
        self.cross_output = keras.layers.Dense(units, name="cross_output")
        self.feed_forward_hidden = keras.layers.Dense(4 * units, "gelu", name="hidden")
        self.feed_forward_output = keras.layers.Dense(units, name="output")
        self.self_norm = keras.layers.LayerNormalization(name="self_norm")
        self.cross_norm = keras.layers.LayerNormalization(name="cross_norm")
        self.feed_forward_norm = keras.layers.LayerNormalization(name="feed_forward_norm")
        self.dropout = keras.layers.Dropout(config.dropout, seed=config.seed)

    def build(self, *_):
        """The sublayers are built when they are called."""
        self.built = True

    def call(self, hidden, cache, image_keys, positions, mask, training=False):
        """One block for some tokens.

        Args:
            hidden: `(batch, time, units)`.
            cache: Keys and values of all tokens so far, `(batch, max_length, 2 * units)`.
            image_keys: Keys and values of the grid cells, `(photos, cells, 2 * units)`.
            positions: One-hot positions of the tokens, `(batch, time, max_length)`.
            mask: Which positions each token may attend to, of the same shape.
            training: Whether dropout is applied.

        Returns:
            The new hidden states, the cache with these tokens, and the attention weights over the
            grid cells.
        """
        # 1. Causal self-attention over the tokens so far.
        normalized = self.self_norm(hidden)
        key_value = self.self_key_value(normalized)
        cache += tf.einsum("btp,btd->bpd", tf.cast(positions, key_value.dtype), key_value)
        context, _ = multi_head_attention(self.self_query(normalized), cache, mask)
        hidden += self.dropout(self.self_output(context), training=training)

        # 2. Cross-attention over the grid cells of the image.
        query = self.cross_query(self.cross_norm(hidden))
        context, attention_weights = multi_head_attention(query, image_keys)
        hidden += self.dropout(self.cross_output(context), training=training)

        # 3. Position-wise feed-forward network.
        expanded = self.feed_forward_hidden(self.feed_forward_norm(hidden))
        output = self.feed_forward_output(self.dropout(expanded, training=training))
        return hidden + self.dropout(output, training=training), cache, attention_weights


def multi_head_attention(queries, keys_and_values, mask=None):
    """Scaled dot-product attention with several heads.

    Args:
        queries: `(batch, time, units)`.
        keys_and_values: `(rows, positions, 2 * units)`. There may be fewer rows than queries,
            because the captions of a photo share its grid cells.
        mask: Which positions each query may attend to, `(batch, time, positions)`.

    Returns:
        The context vectors `(batch, time, units)` and the mean attention weights of the heads.
    """
    rows = tf.shape(keys_and_values)[0]
    batch, time, units = tf.unstack(tf.shape(queries))
    head_width = queries.shape[-1] // HEADS

    def split_heads(tensor):
        parts = tf.reshape(tensor, [rows, -1, HEADS, head_width])
        return tf.transpose(parts, [0, 2, 1, 3])

    keys, values = tf.split(keys_and_values, 2, axis=-1)
    scores = tf.matmul(split_heads(queries), split_heads(keys), transpose_b=True)
    scores /= head_width**0.5
    if mask is not None:
        scores = tf.where(mask[:, None], scores, tf.constant(-1e4, scores.dtype))
    weights = tf.nn.softmax(scores)
    context = tf.transpose(tf.matmul(weights, split_heads(values)), [0, 2, 1, 3])
    mean_weights = tf.reshape(tf.reduce_mean(weights, axis=1), [batch, time, -1])
    return tf.reshape(context, [batch, time, units]), mean_weights


class TransformerCaptioner(CaptionModel):
    """A captioner whose decoder is a transformer."""

    def __init__(self, vocab_size, config, frequencies=None):
        super().__init__(vocab_size, config, frequencies)
        self.cache_length = config.max_length + 2
        self.input_projection = keras.layers.Dense(config.units, name="input_projection")
        self.blocks = [DecoderBlock(config, f"block{number}") for number in range(LAYERS)]
        self.key_projection = keras.layers.Dense(2 * LAYERS * config.units, name="key_projection")
        self.position_embedding = self.add_weight(
            shape=(self.cache_length, config.units),
            initializer=keras.initializers.RandomNormal(stddev=0.02, seed=config.seed),
            name="position_embedding",
        )
        self.final_norm = keras.layers.LayerNormalization(name="final_norm")

    def initial_state(self, features, training=False):
        """The state before the first token: the grid cells' keys and values, and empty caches."""
        grid = self.dropout(self.layer_norm(tf.cast(features, tf.float32)), training=training)
        keys = self.key_projection(self.image_projection(grid))
        photos = tf.shape(grid)[0]
        cache = tf.zeros([photos, self.cache_length, keys.shape[-1] // LAYERS], keys.dtype)
        return {
            "keys": keys,
            "caches": [cache] * LAYERS,
            "position": tf.zeros([photos, 1], tf.int32),
        }

    def decode_sequence(self, token_ids, state, training=False):
        """Logits, state and attention weights after more tokens `(batch, time)`."""
        time = tf.shape(token_ids)[1]
        indices = state["position"] + tf.range(time)
        positions = tf.one_hot(indices, self.cache_length)
        mask = tf.range(self.cache_length) <= indices[..., None]
        # Beyond the end of the cache there is only padding.
        embedded_positions = tf.gather(
            self.position_embedding, tf.minimum(indices, self.cache_length - 1)
        )
        hidden = self.input_projection(self.embedding(token_ids))
        hidden += tf.cast(embedded_positions, hidden.dtype)
        hidden = self.dropout(hidden, training=training)
        caches = []
        image_keys = tf.split(state["keys"], LAYERS, axis=-1)
        for block, cache, keys in zip(self.blocks, state["caches"], image_keys, strict=True):
            hidden, cache, attention_weights = block(
                hidden, cache, keys, positions, mask, training=training
            )
            caches.append(cache)
        logits = self.compute_logits(self.final_norm(hidden), training)
        state = {**state, "caches": caches, "position": state["position"] + time}
        return logits, state, tf.cast(attention_weights, tf.float32)
