"""TODO"""

import keras
import numpy as np

from utils import feature_grids
from utils.data.tokenizer import BOS_ID
from utils.errors import CaptionsError
from utils.models.encoders import build_encoder, find_encoder


class EndToEndCaptioner(keras.Model):
    """A captioner with top_blocks of its own, the CNN's last blocks: it takes what comes before these."""

    def __init__(self, top_blocks, captioner):
        super().__init__(name=f"{captioner.name}-sighted")
        self.top_blocks, self.captioner = top_blocks, captioner
        self.vocabulary, self.channels = captioner.vocabulary, top_blocks.input_shape[2]
        self.decode_step, self.seed_generator = captioner.decode_step, captioner.seed_generator
        self.set_encoder_trainable(False)
        self(
            [
                np.zeros((1, *top_blocks.input_shape[1:]), np.float32),
                np.full((1, 2), BOS_ID, np.int32),
            ]
        )

    def set_encoder_trainable(self, learning=True):
        """Let the top_blocks learn; but never batch normalisation: a batch is too few photos for it."""
        for part in self.top_blocks.layers:
            for layer in getattr(part, "layers", [part]):
                layer.trainable = learning and "BatchNormalization" not in type(layer).__name__

    def call(self, inputs, training=False):
        """Logits for features and words, as the captioner's."""
        features, words = inputs
        return self.captioner([self.top_blocks(features, training=False), words], training=training)

    def initial_state(self, features):
        """The state before the first word."""
        return self.captioner.initial_state(self.top_blocks(features, training=False))


def split_encoder(encoder):
    """The encoder as two models, one after the other: what stays frozen, and what can be tuned.

    Between them stands a grid, `(batch, cells, channels)`, as behind them.
    """
    cnn = next(layer for layer in encoder.layers if isinstance(layer, keras.Model))
    middle = cnn.get_layer(find_encoder(encoder.name).split_layer).output
    high, wide, channels = middle.shape[1:]
    with encoder.distribute_strategy.scope():
        pixels, cells = keras.Input(encoder.input_shape[1:]), keras.Input((high * wide, channels))
        first, last = keras.Model(cnn.input, middle), keras.Model(middle, cnn.output)
        grid = first(find_encoder(encoder.name).preprocess(pixels), training=False)
        grid = keras.layers.Reshape((high * wide, channels), dtype="float32")(grid)
        seen = last(keras.layers.Reshape((high, wide, channels))(cells), training=False)
        seen = keras.layers.Reshape(encoder.output_shape[1:], dtype="float32")(seen)
        parts = (pixels, grid), (cells, seen)
        return tuple(keras.Model(*part, name=encoder.name) for part in parts)


def build_top_blocks(frozen, file="backbone_features.pkl", notebook="01_features"):
    """The encoder's last blocks as `extract_frozen` recorded them; their weights can be tuned."""
    _, top_blocks = split_encoder(build_encoder(frozen["encoder"], pretrained=False, exact=True))
    try:
        top_blocks.set_weights(frozen["top_blocks"])
    except ValueError:
        blocks = f"the last blocks of {frozen['encoder']}"
        raise CaptionsError(f"{file}: not {blocks}: run {notebook} again") from None
    return top_blocks


def attach_top_blocks(captioner, frozen, pairs, config):
    """The captioner with the CNN's last blocks as its top_blocks, what it learns from, and their grid.

    Each photo has two views then, as it is and mirrored.
    """
    grid, (rows, words) = feature_grids.load_grid(frozen, config), pairs
    with captioner.distribute_strategy.scope():
        sighted = EndToEndCaptioner(build_top_blocks(frozen), captioner)
    return sighted, (np.stack([rows, rows + len(grid) // 2], axis=1), words), grid
