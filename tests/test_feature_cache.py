"""The cache of `search` does not grow without limit."""

import os
import tempfile

import numpy as np
import pytest

from utils.feature_cache import (
    has_features,
    prune,
    save_features,
    temporary_folder,
    writable_folder,
)

EARLIER = "0123456789abcdef"  # the fingerprints of two captioners
CURRENT = "fedcba9876543210"


def test_features_of_earlier_captioners_are_deleted_and_nothing_else(tmp_path):
    cache = tmp_path / "feature_cache"
    save_features(cache / EARLIER / "photo.npy", np.zeros(3))
    others = [
        tmp_path / "photos" / "holiday.npy",
        tmp_path / EARLIER / "features.npy",  # not in a cache
        cache / "notes" / "a.npy",  # not named by a fingerprint
        cache / ("a" * 16) / "a.txt",  # no features
        cache / CURRENT / "photo.npy",
    ]
    for path in others:
        save_features(path, np.zeros(3))
    prune(cache / CURRENT, [])
    assert not (cache / EARLIER).exists()
    assert all(path.is_file() for path in others)


def test_a_folder_that_is_no_cache_loses_nothing(tmp_path):
    save_features(tmp_path / EARLIER / "photo.npy", np.zeros(3))
    prune(tmp_path / CURRENT, [])
    assert (tmp_path / EARLIER / "photo.npy").is_file()


def test_temporary_cache_is_in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary_folder.cache_clear()
    neighbor = tmp_path / EARLIER / "photo.npy"
    save_features(neighbor, np.zeros(3))
    (tmp_path / "file").touch()
    folder = writable_folder(tmp_path / "file" / "feature_cache" / CURRENT)
    save_features(folder / "photo.npy", np.zeros(3))
    prune(folder, [])
    assert neighbor.is_file()
    assert (folder / "photo.npy").is_file()
    assert folder.parents[2] == tmp_path
    temporary_folder.cache_clear()


def test_photos_that_were_searched_longest_ago_are_deleted_first(tmp_path):
    paths = []
    for number in range(6):
        path = tmp_path / "current" / f"{number}.npy"
        save_features(path, np.zeros(100, np.uint8))
        os.utime(path, (number, number))
        paths.append(path)
    size = paths[0].stat().st_size
    prune(tmp_path / "current", paths[:1], max_bytes=3 * size)
    assert sorted(path.name for path in tmp_path.rglob("*.npy")) == ["0.npy", "4.npy", "5.npy"]


def test_files_of_the_current_search_are_kept_even_if_they_are_too_large(tmp_path):
    paths = [tmp_path / "current" / f"{number}.npy" for number in range(3)]
    for path in paths:
        save_features(path, np.zeros(100))
    prune(tmp_path / "current", paths, max_bytes=1)
    assert all(path.is_file() for path in paths)


@pytest.mark.parametrize("size", [0, 100, 130])
def test_damaged_features_count_as_missing(tmp_path, size):
    path = tmp_path / "current" / "photo.npy"
    assert not has_features(path)
    save_features(path, np.zeros(10))
    assert has_features(path)
    path.write_bytes(path.read_bytes()[:size])
    assert not has_features(path)


def test_cache_that_cannot_be_written_is_replaced_by_a_temporary_one(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "feature_cache" / "current"
    assert writable_folder(folder) == folder
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    temporary = writable_folder(folder)
    save_features(temporary / "photo.npy", np.zeros(3))
    assert not list(folder.iterdir())
    assert "current: cannot be written to: features are not kept" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert writable_folder(tmp_path / "file" / "current") == temporary


def test_a_cache_that_does_not_exist_yet_is_fine(tmp_path):
    prune(tmp_path / "feature_cache" / "current", [])
    assert not list(tmp_path.iterdir())


def test_cache_of_earlier_versions_is_deleted_but_no_other_file(tmp_path):
    earlier = tmp_path / "seen"
    names = (
        "0123456789abcdef/a.npy",
        "fedcba9876543210/a.npy",
        "fedcba9876543210/b.txt",
        "x/a.npy",
    )
    for name in names:
        path = earlier / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    prune(tmp_path / "feature_cache" / "current", [])
    kept = sorted(path.relative_to(earlier).as_posix() for path in earlier.rglob("*.*"))
    assert kept == ["fedcba9876543210/b.txt", "x/a.npy"]
    for name in kept:
        (earlier / name).unlink()
        (earlier / name).parent.rmdir()
    prune(tmp_path / "feature_cache" / "current", [])
    assert not earlier.exists()
