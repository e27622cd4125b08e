"""Notebooks 3 to 5 show the photos that notebook 1 has read, whatever lies nearer by that name."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.notebooks.data_sets import equal_names_in_two_folders, write_photo
from tests.notebooks.in_process import fast_scripts, run_scripts
from utils import artifacts
from utils.config import load_config
from utils.errors import CaptionsError
from utils.plotting import figures, gallery


class Unusable(Exception):
    """Raised in place of a captioner."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A data set with two photos of each file name, and what notebooks 1 and 2 made of it."""
    folder = tmp_path_factory.mktemp("shown")
    inputs = folder / "input"
    inputs.mkdir()
    (folder / "working").mkdir()
    equal_names_in_two_folders(inputs)
    with fast_scripts() as patch:
        patch.setenv("CAPTIONS_INPUT", str(inputs))
        patch.setenv("CAPTIONS_WORKING", str(folder / "working"))
        run_scripts(["01_features", "02_text"])
        # From now on other pictures of the same names lie nearer, in both folders.
        for number in range(1, 16):
            for place in (inputs, folder / "working", folder / "working" / "summer"):
                write_photo(place / f"{number}.jpg", seed=100 + number)
        yield inputs, folder / "working"


def record_paths(monkeypatch, module):
    """A list to which a module adds the paths of the photos that it shows, in their order."""
    paths = []

    def record(path, *size, load=figures.load_thumbnail):
        paths.append(path)
        return load(path, *size)

    monkeypatch.setattr(module, "load_thumbnail", record)
    return paths


@pytest.fixture
def shown(monkeypatch):
    """The paths of the photos that figures show."""
    return record_paths(monkeypatch, figures)


@pytest.fixture
def in_gallery(monkeypatch):
    """The paths of the photos that the gallery shows."""
    return record_paths(monkeypatch, gallery)


def test_photos_are_those_of_their_captions_and_the_gallery_is_written_first(
    folders, shown, in_gallery, monkeypatch
):
    inputs, working = folders
    run_scripts(["03_train"])
    config = load_config("flickr8k")
    splits = artifacts.load("captions", config)["splits"]
    assert shown == [inputs / splits["train"][0], inputs / splits["validation"][0]]

    shown.clear()
    run_scripts(["04_evaluate"])
    names = artifacts.load("predictions", config)["names"]
    assert shown == [inputs / names[0]]

    # The gallery shows each photo with its caption, and exists even if what follows fails.
    shown.clear()

    def fail(folder):
        raise Unusable

    monkeypatch.setattr("utils.inference.Captioner.load", fail)
    with pytest.raises(Unusable):
        run_scripts(["05_visualize"])
    assert (working / "gallery.html").is_file()
    expected = [inputs / name for name in names]
    assert in_gallery == expected
    assert shown
    assert set(shown) <= set(expected)


def test_notebooks_run_where_the_photos_are_missing(folders, capsys, monkeypatch):
    inputs, working = folders
    if not (working / "predictions.pkl").is_file():
        run_scripts(["03_train", "04_evaluate"])
    for place in ("summer", "winter"):
        shutil.move(inputs / place, inputs.parent / place)
    run_scripts(["05_visualize"])
    output = capsys.readouterr().out
    assert "photos are not where 01_features has read them" in output
    assert Path(working / "gallery.html").is_file()


def test_section_of_real_photographs_says_what_is_missing(folders, capsys, monkeypatch):
    _, working = folders
    if not (working / "predictions.pkl").is_file():
        run_scripts(["03_train", "04_evaluate"])

    def find_spec(name):
        return None if name == "skimage" else importlib.util.find_spec(name)

    def fail():
        raise CaptionsError("efficientnet_lite2: its package is missing: pip install it")

    monkeypatch.setattr("utils.data.open_photos.find_spec", find_spec)
    monkeypatch.setattr("utils.inference.Captioner.pretrained", fail)
    run_scripts(["05_visualize"])
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "pip install scikit-image" in line]
    assert line.startswith("Without astronaut, chelsea, coffee, ")
    (line,) = [line for line in lines if line.startswith("Without the pretrained captioner")]
    assert "pip install it" in line
