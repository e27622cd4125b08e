"""The CNNs that look at pictures: pretrained, their heads cut off, one table for all.

Cut once more, an encoder is two models, so that its last blocks can learn with a captioner.
"""

import warnings
from dataclasses import dataclass, replace

import keras
import tensorflow as tf

from utils.devices import local_strategy
from utils.plain import sound_weights
from utils.settings import CaptionsError, find_input, find_one
from world import tiny


@dataclass(frozen=True)
class Encoder:
    """A pretrained CNN: how it is built, and how large a picture it wants."""

    build: object  # (weights=None for random ones) -> a Keras model from prepared pixels to a grid
    prepare: object  # pixels in 0..255 to what the CNN was trained on
    side: int
    cut: str  # the layer after which it can be tuned: what comes before stays frozen


def from_keras(family, name, file, cut, side=224):
    """An encoder of `keras.applications`: `family` holds its preprocessing, `name` the model.

    Its weights are taken from a `file` of that name under the inputs, or else from Keras.
    """
    module = getattr(keras.applications, family)

    def build(weights="imagenet"):
        attached = find_input(file) if weights else []
        weights, shape = sound_weights(attached[0]) if attached else weights, (side, side, 3)
        with warnings.catch_warnings():  # Keras would rather have MobileNetV2 at a size of its own
            warnings.simplefilter("ignore", UserWarning)
            return getattr(module, name)(include_top=False, weights=weights, input_shape=shape)

    return Encoder(build, module.preprocess_input, side, cut)


def from_the_world(weights="imagenet"):
    """The sample world's own CNN; its weights are elsewhere when it came without its binaries."""
    file = tiny.WEIGHTS if tiny.WEIGHTS.is_file() else find_one(tiny.WEIGHTS.name)
    return tiny.build_tiny(weights and (file or tiny.WEIGHTS))


ENCODERS = {
    "tiny": Encoder(from_the_world, lambda pixels: pixels, 224, "sum"),
    # Trained on 224 pixels, it takes other sizes, too: RESULTS.md compares two.
    "mobilenet_v2": from_keras(
        "mobilenet_v2", "MobileNetV2", "mobilenet_v2*_1.0_224_no_top.h5", "block_12_add", 288
    ),
    "vgg16": from_keras("vgg16", "VGG16", "vgg16*notop.h5", "block4_pool"),
    "resnet50": from_keras("resnet50", "ResNet50", "resnet50_w*notop.h5", "conv4_block6_out"),
    "inception_v3": from_keras(
        "inception_v3", "InceptionV3", "inception_v3*notop.h5", "mixed7", 299
    ),
    "xception": from_keras(
        "xception", "Xception", "xception*notop.h5", "block14_sepconv1_act", 299
    ),
    "densenet201": from_keras("densenet", "DenseNet201", "densenet201*notop.h5", "pool4_pool"),
    "efficientnet_v2b0": from_keras(
        "efficientnet_v2", "EfficientNetV2B0", "efficientnetv2-b0_notop.h5", "block5e_add"
    ),
    "convnext_base": from_keras(
        "convnext", "ConvNeXtBase", "convnext_base_notop.h5", "convnext_base_downsampling_block_2"
    ),
}


def find_encoder(name):
    """The encoder of that name."""
    if name not in ENCODERS:
        raise CaptionsError(
            f"setting 'encoder={name}': there is none of that name: {', '.join(ENCODERS)}"
        )
    return ENCODERS[name]


def choose_encoder(settings):
    """The settings with `encoder=auto` decided: the best for a GPU is too much for two cores.

    Later notebooks take what features.pkl records, with or without a GPU. Taught in 01_features.
    """
    best = "convnext_base" if tf.config.list_physical_devices("GPU") else "mobilenet_v2"
    return replace(settings, encoder=best) if settings.encoder == "auto" else settings


def build_encoder(name, pretrained=True, exact=False):
    """The encoder as one Keras model: pixels in 0..255 to a grid `(batch, cells, channels)`.

    Preprocessing is inside, so that it can't be forgotten or done twice. On GPUs it computes in
    float16, unless it is to be `exact`, and several share the photos. Taught in 01_features.
    """
    encoder, policy = find_encoder(name), keras.config.dtype_policy()
    half = tf.config.list_logical_devices("GPU") and not exact
    chosen = tf.distribute.has_strategy()  # by the caller, for a training
    strategy = tf.distribute.get_strategy() if chosen else local_strategy()
    keras.config.set_dtype_policy("mixed_float16" if half else policy)
    try:
        with strategy.scope():
            cnn = encoder.build() if pretrained else encoder.build(weights=None)
            cnn.trainable = False
            pixels = keras.Input((encoder.side, encoder.side, 3))
            grid = cnn(encoder.prepare(pixels), training=False)
            shape = (grid.shape[1] * grid.shape[2], grid.shape[3])
            cells = keras.layers.Reshape(shape, dtype="float32")(grid)
            return keras.Model(pixels, cells, name=name)
    except Exception as error:  # no network, no cache: Keras raises whatever the download raised
        if isinstance(error, CaptionsError) or not pretrained:
            raise
        raise CaptionsError(
            f"encoder '{name}': its weights could not be loaded ({' '.join(str(error).split())}): "
            "allow the network once, or set KERAS_HOME to where they are, or attach their .h5 file"
        ) from None
    finally:
        keras.config.set_dtype_policy(policy)


def cut_encoder(encoder):
    """The encoder as two models, one after the other: what stays frozen, and what can be tuned.

    Between them stands a grid, `(batch, cells, channels)`, as behind them.
    """
    cnn = next(layer for layer in encoder.layers if isinstance(layer, keras.Model))
    middle = cnn.get_layer(find_encoder(encoder.name).cut).output
    high, wide, channels = middle.shape[1:]
    with encoder.distribute_strategy.scope():
        pixels, cells = keras.Input(encoder.input_shape[1:]), keras.Input((high * wide, channels))
        first, last = keras.Model(cnn.input, middle), keras.Model(middle, cnn.output)
        grid = first(find_encoder(encoder.name).prepare(pixels), training=False)
        grid = keras.layers.Reshape((high * wide, channels), dtype="float32")(grid)
        seen = last(keras.layers.Reshape((high, wide, channels))(cells), training=False)
        seen = keras.layers.Reshape(encoder.output_shape[1:], dtype="float32")(seen)
        parts = (pixels, grid), (cells, seen)
        return tuple(keras.Model(*part, name=encoder.name) for part in parts)


def open_eyes(frozen, file="frozen.pkl", notebook="01_features"):
    """The encoder's last blocks as `extract_frozen` recorded them; their weights can be tuned."""
    _, eyes = cut_encoder(build_encoder(frozen["encoder"], pretrained=False, exact=True))
    try:
        eyes.set_weights(frozen["eyes"])
    except ValueError:
        blocks = f"the last blocks of {frozen['encoder']}"
        raise CaptionsError(f"{file}: not {blocks}: run {notebook} again") from None
    return eyes
