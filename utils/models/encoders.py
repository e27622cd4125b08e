"""Image encoders: pretrained CNNs without their classification heads, in one table."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from utils.config import Config
from utils.devices import dtype_policy_scope, local_strategy
from utils.errors import CaptionsError, one_line
from utils.models import efficientnet_lite
from utils.models.h5_weights import validate_h5_weights
from utils.models.warm_start import load_pretrained
from utils.paths import find_input, find_unique_input
from utils.sample import cnn


@dataclass(frozen=True)
class Encoder:
    """A pretrained CNN: how it is built, and what it expects."""

    # Called with `weights=None` for random weights; returns a model from preprocessed pixels to a
    # feature map `(batch, height, width, channels)`.
    build: Callable[..., Any]
    # From pixels in 0..255 to what the CNN was trained on.
    preprocess: Callable[[Any], Any]
    image_size: int
    # Fine-tuning trains the layers after this one: all before it stay frozen.
    split_layer: str


def keras_encoder(
    module_name: str,
    model_name: str,
    weights_file: str,
    split_layer: str,
    image_size: int = 224,
) -> Encoder:
    """An encoder from `keras.applications`.

    Args:
        module_name: The module of the family, which has its preprocessing.
        model_name: The model's function in that module, or in `keras.applications` itself.
        weights_file: A pattern. If an input file has such a name, its weights are used; otherwise
            Keras downloads them.
        split_layer: The last layer that fine-tuning keeps frozen.
        image_size: Height and width of the input.
    """
    module = getattr(keras.applications, module_name, None)
    build_model = getattr(module, model_name, getattr(keras.applications, model_name, None))

    def build(weights: str | None = "imagenet") -> Any:
        if module is None or build_model is None:  # an error here, and not when this is imported
            raise CaptionsError(
                f"keras_encoder('{module_name}', '{model_name}'): keras.applications of Keras "
                f"{keras.__version__} has no such module or model: correct it in ENCODERS"
            )
        if weights:
            attached = find_input(weights_file)
            if attached:
                weights = validate_h5_weights(attached[0])
        input_shape = (image_size, image_size, 3)
        with warnings.catch_warnings():
            # Keras warns where MobileNetV2 gets another image size than it was trained with.
            warnings.simplefilter("ignore", UserWarning)
            return build_model(include_top=False, weights=weights, input_shape=input_shape)

    preprocess = getattr(module, "preprocess_input", unchanged)
    return Encoder(build, preprocess, image_size, split_layer)


def build_sample_cnn(weights: str | None = "imagenet") -> Any:
    """Build the CNN of the drawn sample.

    Its weights are part of the package; where a repository was uploaded without binary files, they
    may also be among the inputs.
    """
    if not weights:
        return cnn.build_cnn(None)
    path = cnn.WEIGHTS_FILE
    if not path.is_file():
        path = find_unique_input(cnn.WEIGHTS_FILE.name) or cnn.WEIGHTS_FILE
    return cnn.build_cnn(path)


def unchanged(pixels: Any) -> Any:
    """The preprocessing of a CNN that includes its own."""
    return pixels


def efficientnet_lite_encoder(name: str, split_layer: str) -> Encoder:
    """An encoder of the EfficientNet-Lite family, whose weights need no download."""

    def build(weights: str | None = "imagenet") -> Any:
        return efficientnet_lite.build_efficientnet_lite(name, weights)

    image_size = efficientnet_lite.VARIANTS[name].image_size
    return Encoder(build, efficientnet_lite.preprocess_input, image_size, split_layer)


ENCODERS = {
    "sample_cnn": Encoder(build_sample_cnn, unchanged, image_size=224, split_layer="block3_add"),
    # Trained with an image size of 224, it is better with a larger one: see RESULTS.md.
    "mobilenet_v2": keras_encoder(
        "mobilenet_v2",
        "MobileNetV2",
        weights_file="mobilenet_v2*_1.0_224_no_top.h5",
        split_layer="block_12_add",
        image_size=288,
    ),
    "efficientnet_lite0": efficientnet_lite_encoder("efficientnet_lite0", "block10_add"),
    "efficientnet_lite1": efficientnet_lite_encoder("efficientnet_lite1", "block14_add"),
    "efficientnet_lite2": efficientnet_lite_encoder("efficientnet_lite2", "block14_add"),
    "vgg16": keras_encoder(
        "vgg16",
        "VGG16",
        weights_file="vgg16*notop.h5",
        split_layer="block4_pool",
    ),
    "resnet50": keras_encoder(
        "resnet50",
        "ResNet50",
        weights_file="resnet50_w*notop.h5",
        split_layer="conv4_block6_out",
    ),
    "inception_v3": keras_encoder(
        "inception_v3",
        "InceptionV3",
        weights_file="inception_v3*notop.h5",
        split_layer="mixed7",
        image_size=299,
    ),
    "xception": keras_encoder(
        "xception",
        "Xception",
        weights_file="xception*notop.h5",
        split_layer="block14_sepconv1_act",
        image_size=299,
    ),
    "densenet201": keras_encoder(
        "densenet",
        "DenseNet201",
        weights_file="densenet201*notop.h5",
        split_layer="pool4_pool",
    ),
    "efficientnet_v2b0": keras_encoder(
        "efficientnet_v2",
        "EfficientNetV2B0",
        weights_file="efficientnetv2-b0_notop.h5",
        split_layer="block5e_add",
    ),
    "convnext_base": keras_encoder(
        "convnext",
        "ConvNeXtBase",
        weights_file="convnext_base_notop.h5",
        split_layer="convnext_base_downsampling_block_2",
    ),
}


def find_encoder(name: str) -> Encoder:
    """The encoder of that name.

    Raises:
        CaptionsError: There is none.
    """
    if name not in ENCODERS:
        raise CaptionsError(
            f"setting 'encoder={name}': unknown encoder: choose one of {', '.join(ENCODERS)}"
        )
    return ENCODERS[name]


def choose_encoder(config: Config) -> Config:
    """The configuration with `encoder="auto"` replaced by what suits this machine.

    Without a GPU it is EfficientNet-Lite2, whose captions score higher than those of MobileNetV2
    after the same CPU time (see RESULTS.md), or MobileNetV2 where the package with its weights is
    missing. A run that starts from another captioner needs the encoder of that one. Later
    notebooks take the encoder from features.pkl, whether they have a GPU or not.

    Raises:
        CaptionsError: There is no captioner that `start_from` names, or it does not fit.
    """
    if config.encoder != "auto":
        return config
    captioner, _ = load_pretrained(config)
    if captioner:
        return replace(config, encoder=captioner["config"]["encoder"])
    if tf.config.list_physical_devices("GPU"):
        return replace(config, encoder="convnext_base")
    has_weights = efficientnet_lite.has_weights("efficientnet_lite2")
    return replace(config, encoder="efficientnet_lite2" if has_weights else "mobilenet_v2")


def build_encoder(name: str, pretrained: bool = True, full_precision: bool = False) -> Any:
    """Build an encoder as one Keras model, frozen.

    Preprocessing is part of the model, so that it can neither be forgotten nor applied twice.
    Several GPUs share every batch.

    Args:
        name: A key of `ENCODERS`.
        pretrained: Load weights; otherwise they are random.
        full_precision: Compute in float32 on GPUs, too, instead of float16.

    Returns:
        A model from pixels in 0..255, `(batch, image_size, image_size, 3)`, to a feature grid
        `(batch, cells, channels)`.

    Raises:
        CaptionsError: The encoder is unknown, or its weights could not be loaded.
    """
    encoder = find_encoder(name)
    half_precision = tf.config.list_logical_devices("GPU") and not full_precision
    policy = "mixed_float16" if half_precision else keras.config.dtype_policy()
    # A training has already chosen its strategy.
    has_strategy = tf.distribute.has_strategy()
    strategy = tf.distribute.get_strategy() if has_strategy else local_strategy()
    with dtype_policy_scope(policy), strategy.scope():
        if pretrained:
            backbone = load_pretrained_backbone(name, encoder)
        else:
            backbone = encoder.build(weights=None)
        backbone.trainable = False

        pixels = keras.Input((encoder.image_size, encoder.image_size, 3))
        feature_map = backbone(encoder.preprocess(pixels), training=False)
        _, height, width, channels = feature_map.shape
        to_grid = keras.layers.Reshape((height * width, channels), dtype="float32")
        return keras.Model(pixels, to_grid(feature_map), name=name)


def load_pretrained_backbone(name: str, encoder: Encoder) -> Any:
    """Build the CNN with its pretrained weights; a failure says where they may come from."""
    try:
        return encoder.build()
    except CaptionsError:
        raise
    except Exception as error:  # Keras raises whatever the download raised
        raise CaptionsError(
            f"encoder '{name}': its weights could not be loaded ({one_line(error)}): allow network "
            "access once, or set KERAS_HOME to the folder that has them, or attach their .h5 file"
        ) from None
