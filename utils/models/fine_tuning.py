"""Fine-tuning: an encoder in two parts, so that its top blocks can be trained with a captioner."""

from typing import Any

import keras
import numpy as np

from utils import feature_grids
from utils.config import Config
from utils.data.tokenizer import BOS_ID
from utils.errors import CaptionsError
from utils.models.encoders import build_encoder, find_encoder

WHOLE_VIEWS = 2  # of each photo: as it is and mirrored, before those of its crops


class EndToEndCaptioner(keras.Model):
    """A captioner behind the top blocks of a CNN: its features are those of the frozen backbone."""

    def __init__(self, top_blocks: Any, captioner: Any):
        """Combine the two; the top blocks are frozen until `set_encoder_trainable`.

        Args:
            top_blocks: The second model of `split_encoder`, with weights of its own.
            captioner: A captioner for the grid that the top blocks compute.
        """
        super().__init__(name=f"{captioner.name}-end-to-end")
        self.top_blocks = top_blocks
        self.captioner = captioner
        self.vocab_size = captioner.vocab_size
        self.channels = top_blocks.input_shape[2]
        self.decode_step = captioner.decode_step
        self.seed_generator = captioner.seed_generator
        self.set_encoder_trainable(False)

        example_features = np.zeros((1, *top_blocks.input_shape[1:]), np.float32)
        example_tokens = np.full((1, 2), BOS_ID, np.int32)
        self([example_features, example_tokens])

    def set_encoder_trainable(self, trainable: bool = True) -> None:
        """Train or freeze the top blocks; batch normalization always stays frozen.

        A batch has too few photos for its statistics.
        """
        for block in self.top_blocks.layers:
            layers = block.layers if isinstance(block, keras.Model) else [block]
            for layer in layers:
                is_batch_norm = "BatchNormalization" in type(layer).__name__
                layer.trainable = trainable and not is_batch_norm

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Logits for backbone features and whole sequences; shapes as in `CaptionModel.call`."""
        features, token_ids = inputs
        grid = self.top_blocks(features, training=False)
        return self.captioner([grid, token_ids], training=training)

    def initial_state(self, features: Any) -> dict:
        """The captioner's state before the first token."""
        return self.captioner.initial_state(self.top_blocks(features, training=False))


def split_encoder(encoder: Any) -> tuple[Any, Any]:
    """Split an encoder at its `split_layer` into two models with the same weights.

    Args:
        encoder: A model from `build_encoder`.

    Returns:
        The backbone, from pixels to a grid `(batch, cells, channels)`, and the top blocks, from
        this grid to the encoder's own output.
    """
    spec = find_encoder(encoder.name)
    cnn = next(layer for layer in encoder.layers if isinstance(layer, keras.Model))
    split_output = cnn.get_layer(spec.split_layer).output
    height, width, channels = split_output.shape[1:]
    with encoder.distribute_strategy.scope():
        pixels = keras.Input(encoder.input_shape[1:])
        cells = keras.Input((height * width, channels))
        lower_layers = keras.Model(cnn.input, split_output)
        upper_layers = keras.Model(split_output, cnn.output)

        feature_map = lower_layers(spec.preprocess(pixels), training=False)
        to_grid = keras.layers.Reshape((height * width, channels), dtype="float32")
        backbone = keras.Model(pixels, to_grid(feature_map), name=encoder.name)

        to_feature_map = keras.layers.Reshape((height, width, channels))
        output_map = upper_layers(to_feature_map(cells), training=False)
        to_output_grid = keras.layers.Reshape(encoder.output_shape[1:], dtype="float32")
        top_blocks = keras.Model(cells, to_output_grid(output_map), name=encoder.name)
        return backbone, top_blocks


def build_top_blocks(
    data: dict, file: str = "backbone_features.pkl", notebook: str = "01_features"
) -> Any:
    """Build the top blocks of an encoder with saved weights.

    Args:
        data: Has the keys `encoder`, a name, and `top_blocks`, a list of arrays.
        file: Where `data` comes from, for the error message.
        notebook: What writes that file, for the error message.

    Raises:
        CaptionsError: The weights do not fit this encoder.
    """
    encoder = build_encoder(data["encoder"], pretrained=False, full_precision=True)
    _, top_blocks = split_encoder(encoder)
    load_top_blocks(top_blocks, data, file, notebook)
    return top_blocks


def load_top_blocks(top_blocks: Any, data: dict, file: str, notebook: str) -> None:
    """Give top blocks saved weights; the other arguments are those of `build_top_blocks`.

    Raises:
        CaptionsError: The weights do not fit this encoder.
    """
    try:
        top_blocks.set_weights(data["top_blocks"])
    except ValueError:
        raise CaptionsError(
            f"{file}: not the top blocks of {data['encoder']}: run {notebook} again"
        ) from None


def attach_top_blocks(
    captioner: Any,
    backbone_features: dict,
    rows: np.ndarray,
    config: Config,
) -> tuple[EndToEndCaptioner, np.ndarray, np.ndarray]:
    """Put the top blocks in front of a captioner.

    Args:
        captioner: A captioner for the encoder's own grid.
        backbone_features: The artifact of `extract_backbone_features`.
        rows: The rows of the training photos, `(photos,)`.
        config: The configuration, which says where the grid is.

    Returns:
        The end-to-end captioner; the rows of the views of every photo, `(photos, 2 + 2 * crops)`:
        as it is, mirrored, its crops, its crops mirrored; and the grid of backbone features.

    Raises:
        CaptionsError: A training photo has no crops, although others have.
    """
    grid = feature_grids.load_grid(backbone_features, config)
    as_they_are = rows[:, None]
    crop_rows = find_crop_rows(backbone_features, rows)
    to_mirrored = len(grid) // 2  # the second half of the grid mirrors the first
    views = np.concatenate(
        [as_they_are, as_they_are + to_mirrored, crop_rows, crop_rows + to_mirrored], axis=1
    )
    with captioner.distribute_strategy.scope():
        end_to_end = EndToEndCaptioner(build_top_blocks(backbone_features), captioner)
    return end_to_end, views, grid


def find_crop_rows(backbone_features: dict, rows: np.ndarray) -> np.ndarray:
    """The rows of the crops of training photos.

    Args:
        backbone_features: The artifact of `extract_backbone_features`.
        rows: The rows of the photos, `(photos,)`.

    Returns:
        The rows of their crops, `(photos, crops)`.

    Raises:
        CaptionsError: A training photo has no crops, although others have.
    """
    crop_rows = backbone_features.get("crop_rows", np.zeros((0, 0), int))
    if not crop_rows.size:  # without crops, or of an earlier version
        return np.zeros((len(rows), 0), int)
    position_of = {row: position for position, row in enumerate(backbone_features["train_rows"])}
    missing = set(rows.tolist()) - set(position_of)
    if missing:
        raise CaptionsError(
            f"backbone_features.pkl: has no crops of {len(missing)} training photos: "
            "run 01_features again"
        )
    return crop_rows[[position_of[row] for row in rows]]
