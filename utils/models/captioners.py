"""Caption decoders: image features and token IDs in, logits of the next token out.

All of them have one interface, whose two ways in agree:

- `captioner([features, token_ids])` returns the logits after every token of whole sequences
  (teacher forcing, for training).
- `captioner.initial_state(features)` and `captioner.decode_step(token_ids, state)` return them one
  token at a time (for decoding), with the attention weights over the grid cells if there are any.

Features are a grid `(batch, cells, channels)`; a pooled vector is a grid of one cell. A state is a
nested structure of tensors whose first axis is the batch, so that decoding can reorder it without
knowing the model.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from utils.config import Config
from utils.data.tokenizer import BOS_ID, PAD_ID
from utils.devices import dtype_policy, dtype_policy_scope
from utils.models.lstm import LSTM

# A state entry of this name has one row per photo, even where a photo has several captions.
SHARED_STATE = "keys"


class CaptionModel(keras.Model):
    """What all decoders share: the embedding of tokens, and the projection to logits.

    The output layer uses the embedding matrix, transposed (tied weights): a small data set then
    trains every row twice. The output bias starts at the log frequency of the tokens, so that the
    model need not learn first that "a" is frequent.

    A subclass adds `initial_state` and `decode_sequence`.
    """

    def __init__(self, vocab_size: int, config: Config, frequencies: np.ndarray | None = None):
        """Create the shared layers.

        Args:
            vocab_size: The number of tokens, special tokens included.
            config: Gives `units`, `embedding_dim`, `dropout`, `seed` and the model's name.
            frequencies: Relative frequency of every token, `(vocab_size,)`, for the output bias.
        """
        super().__init__(name=config.decoder)
        self.vocab_size = vocab_size
        self.embedding = keras.layers.Embedding(vocab_size, config.embedding_dim, name="embedding")
        self.layer_norm = keras.layers.LayerNormalization(name="layer_norm")
        self.image_projection = keras.layers.Dense(config.units, "tanh", name="image_projection")
        self.output_projection = keras.layers.Dense(config.embedding_dim, name="output_projection")
        self.dropout = keras.layers.Dropout(config.dropout, seed=config.seed)
        # For the captions that self-critical training samples.
        self.seed_generator = keras.random.SeedGenerator(config.seed)

        initial_bias = np.zeros(vocab_size) if frequencies is None else np.log(frequencies)
        # float32 also where the model computes in half precision, as the logits are.
        self.bias = self.add_weight(
            shape=(vocab_size,),
            initializer=keras.initializers.Constant(initial_bias),
            autocast=False,
            name="bias",
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Logits after every token of whole sequences.

        Args:
            inputs: Features `(photos, cells, channels)` and token IDs `(sequences, time)`. A photo
                may have several sequences, one after the other: it is encoded only once.
            training: Whether dropout is active.

        Returns:
            Logits `(sequences, time, vocab_size)`.
        """
        features, token_ids = inputs
        state = self.initial_state(features, training)
        sequences_per_photo = tf.shape(token_ids)[0] // tf.shape(features)[0]

        def repeat(tensor: Any) -> Any:
            return tf.repeat(tensor, sequences_per_photo, axis=0)

        repeated = {
            name: value if name == SHARED_STATE else tf.nest.map_structure(repeat, value)
            for name, value in state.items()
        }
        logits, _, _ = self.decode_sequence(token_ids, repeated, training)
        return logits

    def decode_step(self, token_ids: Any, state: dict) -> tuple[Any, dict, Any]:
        """Decode one more token.

        Args:
            token_ids: The last token of every sequence, `(batch,)`.
            state: From `initial_state` or the previous step.

        Returns:
            Logits `(batch, vocab_size)`, the new state, and attention weights `(batch, cells)`;
            a model without attention returns weights `(batch, 0)`.
        """
        logits, state, attention_weights = self.decode_sequence(token_ids[:, None], state)
        return logits[:, 0], state, attention_weights[:, 0]

    def compute_logits(self, hidden: Any, training: bool = False) -> Any:
        """Logits `(..., vocab_size)` in float32 from hidden states `(..., units)`."""
        projected = self.output_projection(hidden)
        projected = self.dropout(projected, training=training)
        embedding_matrix = tf.cast(self.embedding.embeddings, projected.dtype)
        # One product for the tokens of all captions. With one product for each caption, the
        # gradient of the embedding matrix would be computed for each caption, and then added up.
        flat = tf.reshape(projected, [-1, projected.shape[-1]])
        logits = tf.matmul(flat, embedding_matrix, transpose_b=True)
        logits = tf.cast(logits, tf.float32) + self.bias
        return tf.reshape(logits, tf.concat([tf.shape(hidden)[:-1], [self.vocab_size]], axis=0))


class MergeCaptioner(CaptionModel):
    """The merge architecture: the LSTM sees only tokens; the image is added to its output."""

    def __init__(self, vocab_size: int, config: Config, frequencies: np.ndarray | None = None):
        """Create the layers; the arguments are those of `CaptionModel`."""
        super().__init__(vocab_size, config, frequencies)
        self.lstm = LSTM(config.units, "lstm")

    def encode_image(self, features: Any, training: bool = False) -> Any:
        """The image as one vector `(batch, units)`."""
        pooled = tf.reduce_mean(tf.cast(features, tf.float32), axis=1)
        normalized = self.layer_norm(pooled)
        return self.image_projection(self.dropout(normalized, training=training))

    def initial_state(self, features: Any, training: bool = False) -> dict:
        """The state before the first token: the image vector and an LSTM state of zeros."""
        image_vector = self.encode_image(features, training)
        zeros = tf.zeros_like(image_vector)
        return {"image_vector": image_vector, "lstm": [zeros, zeros]}

    def decode_sequence(
        self, token_ids: Any, state: dict, training: bool = False
    ) -> tuple[Any, dict, Any]:
        """Logits after more tokens `(batch, time)`, the new state, and no attention weights."""
        embedded = self.embedding(token_ids)
        embedded = self.dropout(embedded, training=training)
        hidden, *lstm_state = self.lstm(embedded, initial_state=state["lstm"])
        merged = hidden + state["image_vector"][:, None]
        logits = self.compute_logits(merged, training)
        no_attention = logits[..., :0]
        return logits, {**state, "lstm": lstm_state}, no_attention


class InjectCaptioner(MergeCaptioner):
    """The inject architecture: the image vector is the LSTM's initial hidden state."""

    def initial_state(self, features: Any, training: bool = False) -> dict:
        """The state before the first token; nothing is left to add to the LSTM's output."""
        initial_hidden = self.encode_image(features, training)
        zeros = tf.zeros_like(initial_hidden)
        return {"image_vector": zeros, "lstm": [initial_hidden, zeros]}


class AttentionCaptioner(CaptionModel):
    """Two LSTMs with attention over the grid between them.

    The attention LSTM gives the queries and the language LSTM takes the context vectors. The
    attention LSTM never sees a context vector. A whole sequence therefore runs through it at once,
    attention is one matrix product for all time steps, and the language LSTM follows: three fast
    steps instead of a loop over tokens.
    """

    def __init__(self, vocab_size: int, config: Config, frequencies: np.ndarray | None = None):
        """Create the layers; the arguments are those of `CaptionModel`."""
        super().__init__(vocab_size, config, frequencies)
        self.attention_lstm = LSTM(config.units, "attention_lstm")
        self.language_lstm = LSTM(config.units, "language_lstm")
        # The keys also serve as values: the context vector is a weighted sum of keys.
        self.key_projection = keras.layers.Dense(config.units, name="key_projection")
        self.query_projection = keras.layers.Dense(
            config.units, use_bias=False, name="query_projection"
        )

    def initial_state(self, features: Any, training: bool = False) -> dict:
        """The state before the first token: keys, and the mean of the grid as hidden state.

        The keys `(batch, cells, units)` also serve as values.
        """
        grid = self.layer_norm(tf.cast(features, tf.float32))
        grid = self.dropout(grid, training=training)
        initial_hidden = self.image_projection(tf.reduce_mean(grid, axis=1))
        zeros = tf.zeros_like(initial_hidden)
        return {
            "keys": self.key_projection(grid),
            "attention_lstm": [initial_hidden, zeros],
            "language_lstm": [zeros, zeros],
        }

    def decode_sequence(
        self, token_ids: Any, state: dict, training: bool = False
    ) -> tuple[Any, dict, Any]:
        """Decode more tokens.

        Args:
            token_ids: Token IDs `(batch, time)`.
            state: From `initial_state` or an earlier call.
            training: Whether dropout is active.

        Returns:
            Logits `(batch, time, vocab_size)`, the new state, and attention weights
            `(batch, time, cells)`.
        """
        # 1. The attention LSTM over the tokens.
        embedded = self.embedding(token_ids)
        embedded = self.dropout(embedded, training=training)
        hidden, *attention_state = self.attention_lstm(
            embedded, initial_state=state["attention_lstm"]
        )

        # 2. One context vector for each token.
        queries = self.query_projection(hidden)
        context, attention_weights = self.attend(queries, state["keys"])

        # 3. The language LSTM over both.
        language_inputs = tf.concat([hidden, context], axis=-1)
        language_inputs = self.dropout(language_inputs, training=training)
        output, *language_state = self.language_lstm(
            language_inputs, initial_state=state["language_lstm"]
        )

        # 4. Logits; the residual connection lets the image reach the output directly.
        logits = self.compute_logits(output + context, training)
        new_state = {
            **state,
            "attention_lstm": attention_state,
            "language_lstm": language_state,
        }
        return logits, new_state, tf.cast(attention_weights, tf.float32)

    @staticmethod
    def attend(queries: Any, keys: Any) -> tuple[Any, Any]:
        """Scaled dot-product attention in which the keys also serve as values.

        Args:
            queries: `(batch, time, units)`.
            keys: `(photos, cells, units)`. There may be fewer photos than rows of queries: all
                captions of a photo, one after the other, attend to the same keys.

        Returns:
            Context vectors `(batch, time, units)` and attention weights `(batch, time, cells)`.
        """
        photos = tf.shape(keys)[0]
        cells = keys.shape[1]
        units = queries.shape[-1]
        queries_by_photo = tf.reshape(queries, [photos, -1, units])

        # 1. Scores: how well each query matches each key.
        scores = tf.matmul(queries_by_photo, keys, transpose_b=True) / units**0.5
        # 2. Weights: positive, with a sum of 1 over the cells.
        weights = tf.nn.softmax(scores)
        # 3. Context vectors: the weighted sum of the values.
        context = tf.matmul(weights, keys)

        context = tf.reshape(context, tf.shape(queries))
        weights = tf.reshape(weights, [-1, tf.shape(queries)[1], cells])
        return context, weights


CAPTIONERS = {"merge": MergeCaptioner, "inject": InjectCaptioner, "attention": AttentionCaptioner}


def build_captioner(
    channels: int, vocab_size: int, config: Config, frequencies: np.ndarray | None = None
) -> Any:
    """Build the decoder that the configuration names.

    The weights depend on `config.seed` alone; Python's global generator and Keras's dtype policy
    stay as they are.

    Args:
        channels: The number of channels of the feature grid.
        vocab_size: The number of tokens, special tokens included.
        config: The configuration.
        frequencies: Relative frequency of every token, `(vocab_size,)`, for the output bias.
    """
    with initializer_seed(config.seed):
        with dtype_policy_scope(dtype_policy(config)):
            captioner = CAPTIONERS[config.decoder](vocab_size, config, frequencies)
        captioner.channels = channels
        example_features = np.zeros((1, 1, channels), np.float32)
        example_tokens = np.full((1, 2), BOS_ID, np.int32)
        captioner([example_features, example_tokens])  # creates the weights
    return captioner


@contextmanager
def initializer_seed(seed: int) -> Iterator[None]:
    """Make the weights that are created inside depend on the seed alone.

    Keras draws the seeds of its initializers from Python's global generator, whose state is
    restored at the end.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def token_frequencies(token_ids: np.ndarray, vocab_size: int) -> np.ndarray:
    """The relative frequency of each token as a target, `(vocab_size,)`; never exactly 0.

    Args:
        token_ids: Padded captions `(captions, time)`. Their first token, BOS, is no target.
        vocab_size: The number of tokens, special tokens included.
    """
    targets = token_ids[:, 1:].ravel()
    counts = np.bincount(targets, minlength=vocab_size).astype(np.float64)
    counts[[PAD_ID, BOS_ID]] = 0
    smoothed = counts + 0.1
    return smoothed / smoothed.sum()
