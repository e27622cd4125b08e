"""The inputs are walked once per process, and a changed folder is noticed at once."""

import os
import random
import shutil

import pytest

from utils import folder_index
from utils.paths import find_files, find_input, input_folder


@pytest.fixture(autouse=True)
def remember_at_once(monkeypatch):
    """Remember folders that have just been made, which otherwise takes seconds."""
    monkeypatch.setattr(folder_index, "_known", {})
    monkeypatch.setattr(folder_index, "MIN_UNCHANGED_NANOSECONDS", -1)


@pytest.fixture
def reads(monkeypatch):
    """The folders that are read, in order."""
    paths = []
    read_folder = folder_index.read_folder

    def read(path):
        paths.append(path)
        return read_folder(path)

    monkeypatch.setattr(folder_index, "read_folder", read)
    return paths


def wait_for_the_clock(folder):
    """Wait until a change gets another time than the changes before it."""
    probe = folder / "probe"
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        probe.touch()


def walk(folder):
    """All files below a folder, found without a cache."""
    paths = []
    for place, _, names in os.walk(folder):
        paths.extend(os.path.join(place, name) for name in names)
    return sorted(paths)


def found(folder):
    """All files that `find_files` finds, as text."""
    return sorted(str(path) for path in find_files(folder))


def test_each_folder_is_read_once_however_often_it_is_searched(tmp_path, reads, monkeypatch):
    for name in ("Images/1.jpg", "Images/2.jpg", "texts/captions.txt", "run/features.pkl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    for _ in range(3):
        assert [path.name for path in find_input("*.jpg")] == ["1.jpg", "2.jpg"]
        assert [path.name for path in find_input("features.pkl")] == ["features.pkl"]
    folders = [tmp_path, tmp_path / "Images", tmp_path / "run", tmp_path / "texts"]
    assert sorted(reads) == [str(folder) for folder in folders]


def test_another_input_folder_is_searched_at_once(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jpg").touch()
        monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / name))
        assert find_input("*.jpg") == [input_folder() / f"{name}.jpg"]


def test_any_sequence_of_changes_is_noticed(tmp_path):
    folder = tmp_path / "input"
    folder.mkdir()
    rng = random.Random(1)
    for number in range(60):
        wait_for_the_clock(tmp_path)
        places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        files = [path for path in folder.rglob("*") if path.is_file()]
        place = rng.choice(places)
        change = rng.choice(("file", "file", "folder", "delete", "rename", "remove folder"))
        if change == "file":
            (place / f"{number}.txt").touch()
        elif change == "folder":
            (place / f"folder {number}").mkdir()
        elif change == "delete" and files:
            rng.choice(files).unlink()
        elif change == "rename" and files:
            rng.choice(files).rename(place / f"renamed {number}")
        elif change == "remove folder" and place != folder:
            shutil.rmtree(place)
        assert found(folder) == walk(folder)


def test_folder_with_a_recent_change_is_read_every_time(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(folder_index, "MIN_UNCHANGED_NANOSECONDS", 10**18)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).touch()
        assert name in [path.name for path in find_files(tmp_path)]
    assert reads == [str(tmp_path)] * 2


def test_link_whose_target_appears_later_is_followed(tmp_path):
    folder = tmp_path / "input"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "photos")
    assert found(folder) == []
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").touch()
    assert found(folder) == [str(folder / "link" / "1.jpg")]


def test_replaced_folder_is_read_again(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").touch()
    (tmp_path / "old").rename(tmp_path / "input")
    assert found(tmp_path / "input") == [str(tmp_path / "input" / "old.txt")]
    (tmp_path / "input").rename(tmp_path / "away")
    (tmp_path / "new").rename(tmp_path / "input")
    assert found(tmp_path / "input") == [str(tmp_path / "input" / "new.txt")]


def test_link_to_itself_is_no_folder(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "a.txt").touch()
    assert found(tmp_path) == [str(tmp_path / "a.txt")]


def test_missing_folder_has_no_files(tmp_path):
    assert found(tmp_path / "missing") == []
