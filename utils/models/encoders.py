"""The CNNs that look at pictures: pretrained, their heads cut off, one table for all.

Cut once more, an encoder is two models, so that its last blocks can learn with a captioner.
"""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import tensorflow as tf

from utils.devices import local_strategy
from utils.errors import CaptionsError
from utils.paths import find_input, find_unique_input
from utils.sample import cnn


def validate_h5_weights(path):
    """The path of an HDF5 file of weights, if it holds by itself what it promises.

    Older releases of Keras read on, into memory and out of other files.
    """
    import h5py

    links, why = [], None
    try:
        with h5py.File(path) as file:
            file.visititems_links(lambda name, link: links.append((name, link)))
            own = [file[name] for name, link in links if isinstance(link, h5py.HardLink)]
            arrays = [part for part in own if isinstance(part, h5py.Dataset)]
            if len(own) < len(links) or any(part.external or part.is_virtual for part in arrays):
                why = "it reaches elsewhere"
            elif any(part.chunks or part.dtype.hasobject for part in arrays):
                why = "it holds more than plain arrays"  # what is packed can swell without end
            elif sum(part.nbytes for part in arrays) > Path(path).stat().st_size:
                why = "it promises more than it holds"
    except Exception as error:  # damaged files fail in many ways
        why = " ".join(str(error).split()) or type(error).__name__
    if why:
        raise CaptionsError(f"{path}: no sound file of weights ({why}): take another")
    return str(path)


@dataclass(frozen=True)
class Encoder:
    """A pretrained CNN: how it is built, and how large a picture it wants."""

    build: object  # (weights=None for random ones) -> a Keras model from prepared pixels to a grid
    preprocess: object  # pixels in 0..255 to what the CNN was trained on
    image_size: int
    split_layer: str  # the layer after which it can be tuned: what comes before stays frozen


def keras_encoder(family, name, file, cut, side=224):
    """An encoder of `keras.applications`: `family` holds its preprocessing, `name` the model.

    Its weights are taken from a `file` of that name under the inputs, or else from Keras.
    """
    module = getattr(keras.applications, family)

    def build(weights="imagenet"):
        attached = find_input(file) if weights else []
        weights, shape = validate_h5_weights(attached[0]) if attached else weights, (side, side, 3)
        with warnings.catch_warnings():  # Keras would rather have MobileNetV2 at a size of its own
            warnings.simplefilter("ignore", UserWarning)
            return getattr(module, name)(include_top=False, weights=weights, input_shape=shape)

    return Encoder(build, module.preprocess_input, side, cut)


def build_sample_cnn(weights="imagenet"):
    """The sample world's own CNN; its weights are elsewhere when it came without its binaries."""
    file = (
        cnn.WEIGHTS_FILE if cnn.WEIGHTS_FILE.is_file() else find_unique_input(cnn.WEIGHTS_FILE.name)
    )
    return cnn.build_cnn(weights and (file or cnn.WEIGHTS_FILE))


ENCODERS = {
    "sample_cnn": Encoder(build_sample_cnn, lambda pixels: pixels, 224, "sum"),
    # Trained on 224 pixels, it takes other sizes, too: RESULTS.md compares two.
    "mobilenet_v2": keras_encoder(
        "mobilenet_v2", "MobileNetV2", "mobilenet_v2*_1.0_224_no_top.h5", "block_12_add", 288
    ),
    "vgg16": keras_encoder("vgg16", "VGG16", "vgg16*notop.h5", "block4_pool"),
    "resnet50": keras_encoder("resnet50", "ResNet50", "resnet50_w*notop.h5", "conv4_block6_out"),
    "inception_v3": keras_encoder(
        "inception_v3", "InceptionV3", "inception_v3*notop.h5", "mixed7", 299
    ),
    "xception": keras_encoder(
        "xception", "Xception", "xception*notop.h5", "block14_sepconv1_act", 299
    ),
    "densenet201": keras_encoder("densenet", "DenseNet201", "densenet201*notop.h5", "pool4_pool"),
    "efficientnet_v2b0": keras_encoder(
        "efficientnet_v2", "EfficientNetV2B0", "efficientnetv2-b0_notop.h5", "block5e_add"
    ),
    "convnext_base": keras_encoder(
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


def choose_encoder(config):
    """The settings with `encoder=auto` decided: the best for a GPU is too much for two cores.

    Later notebooks take what features.pkl records, with or without a GPU. Taught in 01_features.
    """
    best = "convnext_base" if tf.config.list_physical_devices("GPU") else "mobilenet_v2"
    return replace(config, encoder=best) if config.encoder == "auto" else config


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
            pixels = keras.Input((encoder.image_size, encoder.image_size, 3))
            grid = cnn(encoder.preprocess(pixels), training=False)
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
