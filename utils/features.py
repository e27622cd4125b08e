"""Pictures to features: a pretrained CNN with its head cut off, run once over every photo.

The CNN stays frozen, so its answer for a photo never changes: it is computed once, written down,
and training reads numbers instead of pixels.
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.settings import CaptionsError
from utils.tiny import build_tiny


@dataclass(frozen=True)
class Encoder:
    """A pretrained CNN: how it is built, and how large a picture it wants."""

    build: object  # () -> a Keras model from prepared pixels to a grid
    prepare: object  # pixels in 0..255 to what the CNN was trained on
    side: int


def from_keras(family, name, side):
    """An encoder of `keras.applications`: `family` holds its preprocessing, `name` the model."""
    module = getattr(keras.applications, family)

    def build():
        return getattr(module, name)(
            include_top=False, weights="imagenet", input_shape=(side, side, 3)
        )

    return Encoder(build, module.preprocess_input, side)


ENCODERS = {
    "tiny": Encoder(build_tiny, lambda pixels: pixels, 224),
    "mobilenet_v2": from_keras("mobilenet_v2", "MobileNetV2", 224),
    "vgg16": from_keras("vgg16", "VGG16", 224),
    "resnet50": from_keras("resnet50", "ResNet50", 224),
    "xception": from_keras("xception", "Xception", 299),
}


def find_encoder(name):
    """The encoder of that name."""
    if name not in ENCODERS:
        raise CaptionsError(
            f"setting 'encoder={name}': there is none of that name: {', '.join(ENCODERS)}"
        )
    return ENCODERS[name]


def build_encoder(name):
    """The encoder as one Keras model: pixels in 0..255 to a grid `(batch, cells, channels)`.

    Preprocessing is inside, so that it can't be forgotten or done twice. Taught in 01_features.
    """
    encoder = find_encoder(name)
    try:
        cnn = encoder.build()
    except Exception as error:  # no network, no cache: Keras raises whatever the download raised
        raise CaptionsError(
            f"encoder '{name}': its weights could not be loaded ({error}): allow the network "
            "once, set KERAS_HOME to a folder that has them, or take another encoder"
        ) from None
    cnn.trainable = False
    pixels = keras.Input((encoder.side, encoder.side, 3))
    grid = cnn(encoder.prepare(pixels), training=False)
    cells, channels = grid.shape[1] * grid.shape[2], grid.shape[3]
    return keras.Model(pixels, keras.layers.Reshape((cells, channels))(grid), name=name)


def read_pixels(path, side):
    """A photo as float pixels `(side, side, 3)` in 0..255: cut to its middle square, then resized.

    Cutting keeps the proportions; squeezing would make every person look thin or wide.
    """
    image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    short = tf.minimum(height, width)
    image = tf.image.crop_to_bounding_box(
        image, (height - short) // 2, (width - short) // 2, short, short
    )
    return tf.image.resize(tf.cast(image, tf.float32), (side, side), antialias=True)


def extract(paths, encoder, name, batch=32):
    """Chunks of grid rows as float16 over all `paths`, in order, with a progress bar.

    Photos are read and decoded by other threads while the CNN works. Taught in 01_features.
    """
    side = find_encoder(name).side
    pictures = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    pictures = pictures.map(lambda path: read_pixels(path, side), tf.data.AUTOTUNE)
    graph = tf.function(lambda pixels: encoder(pixels, training=False), reduce_retracing=True)
    with tqdm(total=len(paths), desc=name, unit=" photos") as bar:
        for pixels in pictures.batch(batch).prefetch(2):
            rows = np.asarray(graph(pixels), dtype=np.float16)
            yield rows
            bar.update(len(rows))
