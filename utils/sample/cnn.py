"""The sample world's pretrained CNN: what VGG16 is to photos, this is to drawn scenes.

It was trained to name what is in a scene (who, how many, which color, ...) on other scenes than
the sample's, and none of them shows a combination that the sample holds back. Then its heads were
cut off. `make tiny` trains it anew (tests/pretrain.py).
"""

from pathlib import Path

import keras
import numpy as np

from utils.errors import CaptionsError

WEIGHTS_FILE = Path(__file__).with_name("cnn.npz")  # elsewhere when this came without its binaries
IMAGE_SIZE = 224


def build_cnn(weights=WEIGHTS_FILE):
    """The CNN without heads: pixels `(batch, 224, 224, 3)` in 0..255 to a grid 7 by 7 by 160."""
    pixels = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="pixels")
    grid = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(pixels)
    grid = block(grid, 32, 5, 4, "stem")  # 56 by 56
    grid = block(grid, 64, 3, 2, "edges")  # 28 by 28
    grid = block(grid, 128, 3, 2, "parts")  # 14 by 14
    grid = keras.layers.Add(name="sum")([grid, block(grid, 96, 3, 1, "bodies", back_to=128)])
    grid = block(grid, 160, 3, 2, "things")  # 7 by 7
    model = keras.Model(pixels, grid, name="sample_cnn")
    if weights and not Path(weights).is_file():
        raise CaptionsError(f"{weights}: not there: attach cnn.npz, or bring it back with git")
    if weights:
        with np.load(weights) as arrays:
            for variable in model.variables:
                variable.assign(arrays[variable.path].astype(np.float32))
    return model


def block(grid, channels, kernel, stride, name, back_to=None):
    """Convolution, normalisation, ReLU; `back_to` adds a 1 by 1 convolution to that width."""
    grid = keras.layers.Conv2D(
        channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(grid)
    grid = keras.layers.BatchNormalization(name=f"{name}_norm")(grid)
    grid = keras.layers.ReLU(name=f"{name}_relu")(grid)
    return keras.layers.Conv2D(back_to, 1, name=f"{name}_back")(grid) if back_to else grid
