"""The pretrained CNN of the drawn sample: what VGG16 is to photos, this is to drawn scenes.

It was trained to classify the facts of a scene (subject, count, color, ...) on other scenes than
the sample's, none of which shows a held-out combination. Then the classification heads were
removed. `make sample-encoder` trains it again (tests/pretraining).
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from utils.errors import CaptionsError
from utils.paths import REPOSITORY, is_repository

# A repository that was uploaded without binary files has the weights elsewhere.
WEIGHTS_FILE = Path(__file__).with_name("cnn.npz")
IMAGE_SIZE = 224


def build_cnn(weights: str | Path | None = WEIGHTS_FILE) -> Any:
    """Build the CNN without classification heads.

    Args:
        weights: The file of weights; random weights without one.

    Returns:
        A Keras model from pixels `(batch, 224, 224, 3)` in 0..255 to a feature grid
        `(batch, 7, 7, 160)`.

    Raises:
        CaptionsError: The file of weights does not exist.
    """
    if weights and not Path(weights).is_file():
        raise CaptionsError(missing_weights(weights))
    pixels = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="pixels")
    grid = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(pixels)
    grid = conv_block(grid, 32, kernel_size=5, strides=4, name="stem")  # 56 by 56
    grid = conv_block(grid, 64, kernel_size=3, strides=2, name="block1")  # 28 by 28
    grid = conv_block(grid, 128, kernel_size=3, strides=2, name="block2")  # 14 by 14
    residual = conv_block(grid, 96, kernel_size=3, strides=1, name="block3")
    residual = keras.layers.Conv2D(128, 1, name="block3_projection")(residual)
    grid = keras.layers.Add(name="block3_add")([grid, residual])
    grid = conv_block(grid, 160, kernel_size=3, strides=2, name="block4")  # 7 by 7
    model = keras.Model(pixels, grid, name="sample_cnn")
    if weights:
        load_weights(model, weights)
    return model


def missing_weights(path: str | Path) -> str:
    """Say what to do about missing weights, in the repository or in a packed notebook."""
    if is_repository(REPOSITORY):
        return f"{path}: not found: attach cnn.npz, or restore it with git checkout"
    return (
        f"{path}: a packed notebook does not contain the sample's CNN: attach captioned photos, or "
        "the dataset that `python -m utils kaggle dataset` writes"
    )


def conv_block(grid: Any, channels: int, kernel_size: int, strides: int, name: str) -> Any:
    """Apply a convolution, batch normalization and ReLU."""
    grid = keras.layers.Conv2D(
        channels, kernel_size, strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(grid)
    grid = keras.layers.BatchNormalization(name=f"{name}_bn")(grid)
    return keras.layers.ReLU(name=f"{name}_relu")(grid)


def load_weights(model: Any, path: str | Path) -> None:
    """Assign the weights of an `.npz` file, which names them by their path in the model."""
    with np.load(path) as arrays:
        for variable in model.variables:
            variable.assign(arrays[variable.path].astype(np.float32))


def save_weights(model: Any, path: str | Path) -> None:
    """Write the weights in half precision, as `load_weights` reads them."""
    arrays: dict[str, Any] = {}
    for variable in model.variables:
        arrays[variable.path] = np.asarray(variable).astype(np.float16)
    np.savez_compressed(path, **arrays)
