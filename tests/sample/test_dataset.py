"""The drawn sample is written completely, in Flickr8k's layout, and read back."""

import csv
import subprocess
import sys
from collections import Counter
from dataclasses import asdict

import pytest

from utils.errors import CaptionsError
from utils.sample import dataset
from utils.sample.dataset import read_scenes, sample_is_complete, write_sample
from utils.sample.scenes import FACTS, held_out_combinations

SIZES = dict(train=6, validation=2, test=4, seed=5, progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, **SIZES)
    return folder


def split_names(folder, split):
    return (folder / f"sample.{split}Images.txt").read_text().split()


def relative_files(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_written_scenes_are_read_back(folder):
    scenes = read_scenes(folder)
    assert len(scenes) == 12
    assert sorted(path.name for path in (folder / "Images").iterdir()) == sorted(scenes)
    for name, scene in scenes.items():
        assert scene.name == name
        for fact, allowed in FACTS.items():
            assert asdict(scene)[fact] in allowed


def test_every_photo_has_five_captions(folder):
    with open(folder / "captions.txt", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image", "caption"]
    assert Counter(name for name, _ in rows[1:]) == dict.fromkeys(read_scenes(folder), 5)


def test_splits_are_disjoint_and_complete(folder):
    train = split_names(folder, "train")
    validation = split_names(folder, "dev")
    test = split_names(folder, "test")
    assert (len(train), len(validation), len(test)) == (6, 2, 4)
    assert sorted(train + validation + test) == sorted(read_scenes(folder))


def test_half_of_the_test_photos_show_held_out_combinations(folder):
    unseen = set(split_names(folder, "unseen"))
    assert len(unseen) == 2
    assert unseen < set(split_names(folder, "test"))
    for name, scene in read_scenes(folder).items():
        assert (scene.combination in held_out_combinations()) == (name in unseen)


def test_names_do_not_reveal_the_split(folder):
    assert split_names(folder, "train") != sorted(read_scenes(folder))[:6]


def test_a_complete_folder_is_not_written_again(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    write_sample(folder, train=1, validation=1, test=2, progress=False)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_incomplete_folder_is_written_again(folder, tmp_path, monkeypatch):
    """Nothing remains of an attempt that was killed while it wrote the captions."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dataset, "write_captions_file", interrupt)
        write_sample(tmp_path, **SIZES | dict(train=9))
    assert not sample_is_complete(tmp_path)

    write_sample(tmp_path, **SIZES)
    assert sample_is_complete(tmp_path)
    assert relative_files(tmp_path) == relative_files(folder)
    for path in relative_files(folder):
        assert (tmp_path / path).read_bytes() == (folder / path).read_bytes()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CaptionsError, match="file.*: could not be written .*: check that there is"):
        write_sample(tmp_path / "file", **SIZES)


def test_importing_the_dataset_does_not_import_pillow():
    code = "import sys, utils.sample.dataset; print({'PIL', 'numpy'} & set(sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "set()"
