"""Features: the head is off, rows come in their order, and interrupted work is kept."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from utils import artifacts, feature_grids, features
from utils.config import Config
from utils.data.images import read_pixels
from utils.errors import CaptionsError
from utils.features import extract_dataset, extract_features, shard_of
from utils.models.encoders import ENCODERS, build_encoder, choose_encoder, find_encoder
from utils.paths import REPOSITORY
from utils.sample.cnn import WEIGHTS_FILE, build_cnn

SETTINGS = Config()
FAMILIES = {"densenet201": "densenet", "efficientnet_v2b0": "efficientnet_v2"}
FAMILIES |= {"convnext_base": "convnext"}
KERAS_HOME = REPOSITORY.parent / "shared" / "keras_home"


@pytest.fixture(scope="module")
def tiny():
    return build_encoder("sample_cnn")


def test_the_grid_has_cells_and_every_cell_looks_at_its_own_part(tiny):
    _, cells, channels = tiny.output_shape
    side = int(cells**0.5)
    assert side**2 == cells and side >= 6 and channels >= 64
    pixels = np.full((2, 224, 224, 3), 128, np.float32)
    pixels[1, :30, :30] = 255  # a change in the upper left corner
    before, after = tiny(pixels).numpy().reshape(2, side, side, channels)
    changed = np.abs(before - after).sum(axis=-1)
    assert changed[0, 0] > 0 and changed[-1, -1] == pytest.approx(0, abs=1e-3)


def test_the_tiny_encoder_is_tiny_and_frozen(tiny):
    assert tiny.count_params() <= 500_000
    assert WEIGHTS_FILE.stat().st_size <= 1_000_000
    assert not tiny.trainable_weights


def test_the_tiny_encoders_file_is_what_it_computes_with():
    model = build_cnn()
    with np.load(WEIGHTS_FILE) as arrays:
        assert {variable.path for variable in model.variables} == set(arrays.files)
        for variable in model.variables:
            np.testing.assert_array_equal(np.asarray(variable), arrays[variable.path])


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Seven pictures, a working folder, and chunks of two photos."""
    for name in ("WORKING", "INPUT"):
        monkeypatch.setenv(f"CAPTIONS_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr(features, "BATCH", 2)
    return draw(tmp_path / "photos", 7)


def draw(folder, count):
    """Pictures of noise in a folder, as far as `extract_all` looks at photos."""
    folder.mkdir()
    paths = {f"{number}.png": folder / f"{number}.png" for number in range(count)}
    for number, path in enumerate(paths.values()):
        noise = np.random.RandomState(number).randint(0, 256, (60, 60, 3), np.uint8)
        Image.fromarray(noise).save(path)
    return SimpleNamespace(names=list(paths), paths=paths)


def content(made, folder):
    return (folder / "working" / made["grid"]).read_bytes()


def test_chunks_come_in_order_and_do_not_depend_on_their_size(photos, tiny):
    paths = list(photos.paths.values())[:5]
    (whole,) = extract_features(paths, tiny, "sample_cnn", batch=5)
    parts = list(extract_features(paths, tiny, "sample_cnn", batch=2))
    assert [len(rows) for rows in parts] == [2, 2, 1]
    assert whole.dtype == np.float16 and whole.shape == (5, *tiny.output_shape[1:])
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=0.02)
    one = tiny(read_pixels(paths[3], 224)[None])
    np.testing.assert_allclose(whole[3], one[0], atol=0.02)
    images = [Image.open(paths[0]), np.asarray(Image.open(paths[1]))]
    np.testing.assert_array_equal(
        np.concatenate(list(extract_features(images, tiny, "", 2))), parts[0]
    )
    assert list(extract_features([], tiny, "sample_cnn")) == []


def test_a_broken_photo_is_an_error_or_a_row_of_zeros_with_its_reason(photos, tiny):
    paths = list(photos.paths.values())[:4]
    whole = np.concatenate(list(extract_features(paths, tiny, "sample_cnn", 3)))
    paths[2].write_bytes(b"")
    with pytest.raises(CaptionsError, match=r"2.png: empty or not an image"):
        list(extract_features(paths, tiny, "sample_cnn"))
    rows = np.concatenate(
        list(extract_features(paths, tiny, "sample_cnn", 3, failures=(failures := {})))
    )
    assert failures == {str(paths[2]): "empty or not an image"} and not rows[2].any()
    np.testing.assert_array_equal(rows[[0, 1, 3]], whole[[0, 1, 3]])


def test_all_photos_get_their_row_and_a_second_call_computes_nothing(photos, tiny, monkeypatch):
    made = extract_dataset(photos, tiny, SETTINGS)
    assert made["names"] == photos.names and made["left_out"] == {}
    grid = feature_grids.load_grid(made, SETTINGS)
    rows = np.concatenate(
        list(extract_features(list(photos.paths.values()), tiny, "sample_cnn", 2))
    )
    np.testing.assert_array_equal(grid, rows)
    monkeypatch.setattr(features, "read_pixels", None)
    assert extract_dataset(photos, tiny, SETTINGS) == made


@pytest.mark.parametrize("left", [1, 2, 3, 6])
def test_interrupted_after_any_photo_it_goes_on_and_gives_the_same_bytes(
    left, photos, tiny, monkeypatch, tmp_path
):
    whole = content(extract_dataset(photos, tiny, SETTINGS), tmp_path)
    shutil.rmtree(tmp_path / "working")
    read, seen = read_pixels, []

    def stop(photo, *how):
        if len(seen) == left:
            raise KeyboardInterrupt
        seen.append(photo)
        return read(photo, *how)

    monkeypatch.setattr(features, "read_pixels", stop)
    with pytest.raises(KeyboardInterrupt):
        extract_dataset(photos, tiny, SETTINGS)
    monkeypatch.setattr(features, "read_pixels", read)
    assert content(extract_dataset(photos, tiny, SETTINGS), tmp_path) == whole


def test_another_list_photo_encoder_or_reading_is_another_file(photos, tiny, monkeypatch):
    made = [extract_dataset(photos, tiny, SETTINGS)]
    fewer = SimpleNamespace(names=photos.names[1:], paths=photos.paths)
    made.append(extract_dataset(fewer, tiny, SETTINGS))
    Image.new("RGB", (9, 9)).save(photos.paths["0.png"])
    made.append(extract_dataset(photos, tiny, SETTINGS))
    tiny.weights[0].assign(tiny.weights[0] * 1.01)
    made.append(extract_dataset(photos, tiny, SETTINGS))
    tiny.weights[0].assign(tiny.weights[0] / 1.01)
    monkeypatch.setattr(features, "READING", "cropped")
    made.append(extract_dataset(photos, tiny, SETTINGS))
    assert len({each["grid"] for each in made}) == 5


def test_broken_photos_are_left_out_by_name_and_too_many_stop_the_run(photos, tiny):
    whole = feature_grids.load_grid(extract_dataset(photos, tiny, SETTINGS), SETTINGS)
    photos.paths["1.png"].write_bytes(b"")
    photos.paths["6.png"].write_bytes(b"no picture")
    with pytest.raises(CaptionsError, match=r"2 of 7 photos must be left out, e.g. 1.png \(empty"):
        extract_dataset(photos, tiny, SETTINGS)
    made = extract_dataset(photos, tiny, replace(SETTINGS, max_skipped=0.5))
    assert made["left_out"] == dict.fromkeys(("1.png", "6.png"), "empty or not an image")
    assert made["names"] == [name for name in photos.names if name not in made["left_out"]]
    np.testing.assert_array_equal(feature_grids.load_grid(made, SETTINGS), whole[[0, 2, 3, 4, 5]])


def test_broken_photos_in_many_chunks_are_left_out(tiny, tmp_path, monkeypatch):
    names = [f"{number:03}.png" for number in range(5 * features.BATCH_SIZE)]
    paths = {name: tmp_path / name for name in names}
    for number, name in enumerate(names):
        Image.new("RGB", (300, 300), (number, 0, 9)).save(paths[name])
        if number % 3 == 0:
            paths[name].write_bytes(paths[name].read_bytes()[:100])
    some = SimpleNamespace(names=names, paths=paths)
    made = extract_dataset(some, tiny, replace(SETTINGS, max_skipped=1.0))
    assert sorted(made["left_out"]) == names[::3]


def test_what_a_disk_could_not_read_is_no_broken_photo(photos, tiny, monkeypatch, tmp_path):
    whole = content(extract_dataset(photos, tiny, SETTINGS), tmp_path)
    shutil.rmtree(tmp_path / "working")
    failures = iter([photos.paths["3.png"]])

    def hiccup(photo, *how):
        if photo == photos.paths["3.png"] and next(failures, None):
            raise PermissionError(13, "Permission denied", str(photo))
        return read_pixels(photo, *how)

    config = replace(SETTINGS, max_skipped=0.5)
    monkeypatch.setattr(features, "read_pixels", hiccup)
    with pytest.raises(CaptionsError, match=r"3.png: could not be read .*: run this again"):
        extract_dataset(photos, tiny, config)
    assert content(extract_dataset(photos, tiny, config), tmp_path) == whole


def test_a_second_call_knows_what_could_not_be_read(photos, tiny, monkeypatch):
    config = replace(SETTINGS, max_skipped=0.5)
    photos.paths["1.png"].write_bytes(b"")
    made = extract_dataset(photos, tiny, config)
    artifacts.save("features", made, config)
    monkeypatch.setattr(features, "read_pixels", None)
    assert extract_dataset(photos, tiny, config) == made


def test_slices_are_joined_by_who_finds_them_all(photos, tiny, tmp_path):
    whole = extract_dataset(photos, tiny, SETTINGS)
    expected = content(whole, tmp_path)
    shutil.rmtree(tmp_path / "working")
    for number in (1, 3):
        with pytest.raises(CaptionsError, match=f"slice {number} of 3 is written: run"):
            extract_dataset(photos, tiny, replace(SETTINGS, shard=f"{number}/3"))
    (tmp_path / "working").rename(tmp_path / "input")  # as on Kaggle, from earlier kernels
    assert extract_dataset(photos, tiny, replace(SETTINGS, shard="2/3")) == whole
    assert content(whole, tmp_path) == expected


def test_a_slice_comes_from_the_setting_or_the_cluster(monkeypatch):
    assert shard_of(SETTINGS) == (1, 1)
    assert shard_of(replace(SETTINGS, shard="2/8")) == (2, 8)
    for wrong in ("0/2", "3/2", "2", "a/b", "1/2/3"):
        with pytest.raises(CaptionsError, match="write it as 2/8"):
            shard_of(replace(SETTINGS, shard=wrong))
    monkeypatch.setenv("TF_CONFIG", '{"environment": "cloud"}')  # there is no cluster
    assert shard_of(SETTINGS) == (1, 1)
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for kind, index, number in (("chief", 0, 1), ("worker", 0, 2), ("worker", 1, 3)):
        task = {"type": kind, "index": index}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        assert shard_of(SETTINGS) == (number, 3)
    assert shard_of(replace(SETTINGS, shard="2/8")) == (2, 8)


PROGRAM = """
import sys, tensorflow as tf
from pathlib import Path
from types import SimpleNamespace
devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[2])
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
from utils import features
from utils.encoders import build_encoder
from utils.settings import Settings
features.BATCH = 3
paths = {path.name: path for path in sorted(Path(sys.argv[1]).iterdir())}
encoder = build_encoder("sample_cnn")
assert encoder.distribute_strategy.num_replicas_in_sync == len(devices)
photos = SimpleNamespace(names=list(paths), paths=paths)
print(features.extract_all(photos, encoder, Settings(shard=sys.argv[3]))["grid"])
"""


def start(folder, devices=1, shard="", **environment):
    """`extract_all` over a folder's photos in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(devices), shard],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_process_leaves_what_the_next_goes_on_from(
    tmp_path, photos, tiny, monkeypatch, capsys
):
    many = draw(tmp_path / "many", 200)
    process = start(tmp_path / "many")
    while not [path for path in tmp_path.glob("working/*.partial") if path.stat().st_size > 1e5]:
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    monkeypatch.setattr(features, "BATCH", 3)
    many = SimpleNamespace(names=sorted(many.names), paths=many.paths)
    resumed = content(extract_dataset(many, tiny, SETTINGS), tmp_path)
    assert "goes on after" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "working")
    assert content(extract_dataset(many, tiny, SETTINGS), tmp_path) == resumed


@pytest.mark.slow
def test_two_devices_share_the_photos(photos, tiny, tmp_path):
    process = start(tmp_path / "photos", devices=2)
    out, error = process.communicate()
    assert process.returncode == 0, error
    grid = np.load(tmp_path / "working" / out.split()[-1])
    rows = np.concatenate(
        list(extract_features(list(photos.paths.values()), tiny, "sample_cnn", 3))
    )
    np.testing.assert_allclose(grid, rows, atol=0.02)


@pytest.mark.slow
def test_two_processes_share_the_photos(photos, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "BATCH", 3)
    task = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    both = [start(tmp_path / "photos", TF_CONFIG=json.dumps(task))]
    both.append(start(tmp_path / "photos", shard="2/2"))
    errors = [process.communicate()[1] for process in both]
    assert any(process.returncode == 0 for process in both) or all(
        "is written: run 01_features with the others" in error for error in errors
    ), errors
    made = extract_dataset(photos, tiny, replace(SETTINGS, shard="2/2"))
    joined = content(made, tmp_path)
    shutil.rmtree(tmp_path / "working")
    assert content(extract_dataset(photos, tiny, SETTINGS), tmp_path) == joined


@pytest.mark.parametrize(
    "name",
    [
        name if name == "mobilenet_v2" else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(set(ENCODERS) - {"sample_cnn"})
    ],
)
def test_encoders_prepare_pixels_as_keras_says_and_give_a_grid(name):
    model = build_encoder(name, pretrained=False)
    (cnn,) = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    side = find_encoder(name).image_size
    pixels = np.random.RandomState(0).randint(0, 256, (1, side, side, 3)).astype(np.float32)
    module = getattr(keras.applications, FAMILIES.get(name, name))
    expected = cnn(module.preprocess_input(pixels.copy()), training=False)
    cells, channels = model.output_shape[1:]
    assert cells in (49, 64, 81, 100) and channels >= 512 and not model.trainable_weights
    np.testing.assert_allclose(
        model(pixels)[0], np.reshape(expected, (cells, channels)), rtol=1e-3, atol=1e-5
    )


@pytest.mark.skipif(not KERAS_HOME.is_dir(), reason="no weights beside the repository")
def test_weights_are_taken_from_an_attached_data_set(tmp_path, monkeypatch):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    (tmp_path / "somebody").mkdir()
    shutil.copy(KERAS_HOME / "models" / name, tmp_path / "somebody")
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    cnn = find_encoder("mobilenet_v2").build()
    expected = keras.applications.MobileNetV2(
        include_top=False, weights=str(KERAS_HOME / "models" / name), input_shape=(224, 224, 3)
    )
    for found, known in zip(cnn.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(found, known)


def test_auto_is_decided_by_what_is_there(monkeypatch):
    auto = replace(SETTINGS, encoder="auto")
    for gpus, name in (([], "mobilenet_v2"), (["a T4"], "convnext_base")):
        monkeypatch.setattr(
            features.tf.config, "list_physical_devices", lambda kind, gpus=gpus: gpus
        )
        assert choose_encoder(auto) == replace(SETTINGS, encoder=name)
        assert choose_encoder(SETTINGS) == SETTINGS


def test_an_unknown_encoder_is_refused_with_those_there_are():
    with pytest.raises(CaptionsError, match="encoder=alexnet.*tiny, mobilenet_v2"):
        find_encoder("alexnet")


def test_missing_weights_say_where_weights_may_come_from(monkeypatch):
    def offline():
        raise OSError("no network")

    broken = find_encoder("sample_cnn").__class__(offline, None, 224, "sum")
    monkeypatch.setitem(ENCODERS, "vgg16", broken)
    with pytest.raises(CaptionsError, match=r"vgg16.*no network.*KERAS_HOME"):
        build_encoder("vgg16")
