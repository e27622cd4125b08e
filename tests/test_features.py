"""Features come in the order of the photos, and interrupted or shared extraction gives one file."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from utils import artifacts, feature_grids, features
from utils.config import Config
from utils.data.images import read_pixels
from utils.errors import CaptionsError
from utils.features import extract_dataset, extract_features
from utils.models.encoders import build_encoder
from utils.paths import REPOSITORY

CONFIG = Config()
ALLOW_SKIPPING = replace(CONFIG, max_skipped=0.5)
UNREADABLE = "empty or not an image"


@pytest.fixture(scope="module")
def encoder():
    return build_encoder("sample_cnn")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Seven photos, a working folder, and batches of two photos."""
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "working"))
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "input"))
    monkeypatch.setattr(features, "BATCH_SIZE", 2)
    return write_photos(tmp_path / "photos", 7)


def write_photos(folder, count):
    """Write photos of random pixels; returns what `extract_dataset` uses of `Photos`."""
    folder.mkdir()
    paths = {f"{number}.png": folder / f"{number}.png" for number in range(count)}
    for number, path in enumerate(paths.values()):
        pixels = np.random.RandomState(number).randint(0, 256, (60, 60, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return SimpleNamespace(names=list(paths), paths=paths)


def extract_all(photos, encoder, batch_size, failures=None):
    """The features of all photos as one array."""
    batches = extract_features(photos, encoder, "test", batch_size, failures)
    return np.concatenate(list(batches))


def grid_bytes(data, tmp_path):
    """The contents of the grid's file."""
    return (tmp_path / "working" / data["grid"]).read_bytes()


def delete_working_folder(tmp_path):
    shutil.rmtree(tmp_path / "working")


# === extract_features ===


def test_batches_are_in_order_and_do_not_depend_on_their_size(photos, encoder):
    paths = list(photos.paths.values())[:5]
    (whole,) = extract_features(paths, encoder, "test", batch_size=5)
    batches = list(extract_features(paths, encoder, "test", batch_size=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert whole.dtype == np.float16
    assert whole.shape == (5, *encoder.output_shape[1:])
    np.testing.assert_allclose(np.concatenate(batches), whole, atol=0.02)
    single = encoder(read_pixels(paths[3], 224)[None])
    np.testing.assert_allclose(whole[3], single[0], atol=0.02)


def test_paths_images_and_arrays_give_the_same_features(photos, encoder):
    paths = list(photos.paths.values())[:2]
    images = [Image.open(paths[0]), np.asarray(Image.open(paths[1]))]
    expected = extract_all(paths, encoder, 2)
    np.testing.assert_array_equal(extract_all(images, encoder, 2), expected)


def test_no_photos_give_no_batches(encoder):
    assert list(extract_features([], encoder, "test")) == []


def test_unreadable_photo_is_an_error_or_a_row_of_zeros_with_its_reason(photos, encoder):
    paths = list(photos.paths.values())[:4]
    expected = extract_all(paths, encoder, 3)
    paths[2].write_bytes(b"")
    with pytest.raises(CaptionsError, match=f"2.png: {UNREADABLE}"):
        list(extract_features(paths, encoder, "test"))

    failures = {}
    rows = extract_all(paths, encoder, 3, failures)
    assert failures == {str(paths[2]): UNREADABLE}
    assert not rows[2].any()
    np.testing.assert_array_equal(rows[[0, 1, 3]], expected[[0, 1, 3]])


# === extract_dataset ===


def test_second_call_reuses_the_file(photos, encoder, monkeypatch):
    data = extract_dataset(photos, encoder, CONFIG)
    assert data["names"] == photos.names
    assert data["skipped"] == {}
    expected = extract_all(list(photos.paths.values()), encoder, 2)
    np.testing.assert_array_equal(feature_grids.load_grid(data, CONFIG), expected)
    monkeypatch.setattr(features, "read_pixels", None)
    assert extract_dataset(photos, encoder, CONFIG) == data


@pytest.mark.parametrize("photos_read", [1, 2, 3, 6])
def test_interrupted_extraction_resumes_and_gives_the_same_bytes(
    photos_read, photos, encoder, monkeypatch, tmp_path
):
    expected = grid_bytes(extract_dataset(photos, encoder, CONFIG), tmp_path)
    delete_working_folder(tmp_path)
    read = []

    def read_or_interrupt(photo, *options):
        if len(read) == photos_read:
            raise KeyboardInterrupt
        read.append(photo)
        return read_pixels(photo, *options)

    monkeypatch.setattr(features, "read_pixels", read_or_interrupt)
    with pytest.raises(KeyboardInterrupt):
        extract_dataset(photos, encoder, CONFIG)
    monkeypatch.setattr(features, "read_pixels", read_pixels)
    assert grid_bytes(extract_dataset(photos, encoder, CONFIG), tmp_path) == expected


def test_file_name_depends_on_photos_encoder_and_resize_mode(photos, encoder, monkeypatch):
    names = {extract_dataset(photos, encoder, CONFIG)["grid"]}
    fewer_photos = SimpleNamespace(names=photos.names[1:], paths=photos.paths)
    names.add(extract_dataset(fewer_photos, encoder, CONFIG)["grid"])
    Image.new("RGB", (9, 9)).save(photos.paths["0.png"])
    names.add(extract_dataset(photos, encoder, CONFIG)["grid"])
    weight = encoder.weights[0]
    weight.assign(weight * 1.01)
    names.add(extract_dataset(photos, encoder, CONFIG)["grid"])
    weight.assign(weight / 1.01)
    monkeypatch.setattr(features, "RESIZE_MODE", "crop")
    names.add(extract_dataset(photos, encoder, CONFIG)["grid"])
    assert len(names) == 5


def test_unreadable_photos_are_skipped_and_too_many_are_an_error(photos, encoder):
    all_rows = feature_grids.load_grid(extract_dataset(photos, encoder, CONFIG), CONFIG)
    photos.paths["1.png"].write_bytes(b"")
    photos.paths["6.png"].write_bytes(b"not an image")
    with pytest.raises(CaptionsError, match=rf"2 of 7 photos.*1.png \({UNREADABLE}\)"):
        extract_dataset(photos, encoder, CONFIG)

    data = extract_dataset(photos, encoder, ALLOW_SKIPPING)
    assert data["skipped"] == {"1.png": UNREADABLE, "6.png": UNREADABLE}
    assert data["names"] == ["0.png", "2.png", "3.png", "4.png", "5.png"]
    rows = feature_grids.load_grid(data, CONFIG)
    np.testing.assert_array_equal(rows, all_rows[[0, 2, 3, 4, 5]])


def test_truncated_photos_in_many_batches_are_skipped(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "working"))
    names = [f"{number:03}.png" for number in range(5 * features.BATCH_SIZE)]
    paths = {name: tmp_path / name for name in names}
    for number, path in enumerate(paths.values()):
        Image.new("RGB", (300, 300), (number, 0, 9)).save(path)
        if number % 3 == 0:
            path.write_bytes(path.read_bytes()[:100])
    photos = SimpleNamespace(names=names, paths=paths)
    data = extract_dataset(photos, encoder, replace(CONFIG, max_skipped=1.0))
    assert sorted(data["skipped"]) == names[::3]


def test_disk_error_is_not_an_unreadable_photo(photos, encoder, monkeypatch, tmp_path):
    expected = grid_bytes(extract_dataset(photos, encoder, CONFIG), tmp_path)
    delete_working_folder(tmp_path)
    failing = {photos.paths["3.png"]}

    def fail_once(photo, *options):
        if photo in failing:
            failing.remove(photo)
            raise PermissionError(13, "Permission denied", str(photo))
        return read_pixels(photo, *options)

    monkeypatch.setattr(features, "read_pixels", fail_once)
    with pytest.raises(CaptionsError, match=r"3.png: could not be read .*: run this again"):
        extract_dataset(photos, encoder, ALLOW_SKIPPING)
    assert grid_bytes(extract_dataset(photos, encoder, ALLOW_SKIPPING), tmp_path) == expected


def test_skipped_photos_are_remembered_by_the_artifact(photos, encoder, monkeypatch):
    photos.paths["1.png"].write_bytes(b"")
    data = extract_dataset(photos, encoder, ALLOW_SKIPPING)
    artifacts.save("features", data, ALLOW_SKIPPING)
    monkeypatch.setattr(features, "read_pixels", None)
    assert extract_dataset(photos, encoder, ALLOW_SKIPPING) == data


def test_shards_are_joined_once_all_are_there(photos, encoder, tmp_path):
    expected = extract_dataset(photos, encoder, CONFIG)
    expected_bytes = grid_bytes(expected, tmp_path)
    delete_working_folder(tmp_path)
    for number in (1, 3):
        with pytest.raises(CaptionsError, match=f"shard {number} of 3 is written: run"):
            extract_dataset(photos, encoder, replace(CONFIG, shard=f"{number}/3"))
    # On Kaggle, the output of earlier kernels is attached as input.
    (tmp_path / "working").rename(tmp_path / "input")
    assert extract_dataset(photos, encoder, replace(CONFIG, shard="2/3")) == expected
    assert grid_bytes(expected, tmp_path) == expected_bytes


# === Several processes ===

PROGRAM = """
import sys, tensorflow as tf
from pathlib import Path
from types import SimpleNamespace
devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[2])
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
from utils import features
from utils.config import Config
from utils.models.encoders import build_encoder
features.BATCH_SIZE = 3
paths = {path.name: path for path in sorted(Path(sys.argv[1]).iterdir())}
encoder = build_encoder("sample_cnn")
assert encoder.distribute_strategy.num_replicas_in_sync == len(devices)
photos = SimpleNamespace(names=list(paths), paths=paths)
print(features.extract_dataset(photos, encoder, Config(shard=sys.argv[3]))["grid"])
"""


def start_extraction(folder, devices=1, shard="", **environment):
    """Run `extract_dataset` on a folder's photos in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(devices), shard],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_killed_process_leaves_what_the_next_one_resumes_from(
    tmp_path, photos, encoder, monkeypatch, capsys
):
    many = write_photos(tmp_path / "many", 200)
    many.names.sort()
    process = start_extraction(tmp_path / "many")

    def has_progress():
        partial_files = tmp_path.glob("working/*.partial")
        return any(path.stat().st_size > 1e5 for path in partial_files)

    while not has_progress():
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()

    monkeypatch.setattr(features, "BATCH_SIZE", 3)
    resumed = grid_bytes(extract_dataset(many, encoder, CONFIG), tmp_path)
    assert "continues after" in capsys.readouterr().out
    delete_working_folder(tmp_path)
    assert grid_bytes(extract_dataset(many, encoder, CONFIG), tmp_path) == resumed


@pytest.mark.slow
def test_two_devices_share_a_batch(photos, encoder, tmp_path):
    process = start_extraction(tmp_path / "photos", devices=2)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    grid = np.load(tmp_path / "working" / output.split()[-1])
    expected = extract_all(list(photos.paths.values()), encoder, 3)
    np.testing.assert_allclose(grid, expected, atol=0.02)


@pytest.mark.slow
def test_two_processes_extract_one_shard_each(photos, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "BATCH_SIZE", 3)
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    first = start_extraction(tmp_path / "photos", TF_CONFIG=json.dumps(cluster))
    second = start_extraction(tmp_path / "photos", shard="2/2")
    errors = [process.communicate()[1] for process in (first, second)]
    one_joined = 0 in (first.returncode, second.returncode)
    none_joined = all("is written: run 01_features with the others" in text for text in errors)
    assert one_joined or none_joined, errors

    data = extract_dataset(photos, encoder, replace(CONFIG, shard="2/2"))
    joined = grid_bytes(data, tmp_path)
    delete_working_folder(tmp_path)
    assert grid_bytes(extract_dataset(photos, encoder, CONFIG), tmp_path) == joined
