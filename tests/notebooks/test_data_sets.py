"""Small data sets as users have them, through all five notebooks.

The scripts of the notebooks run in this process, one after the other and without compiling their
functions: that takes seconds for a data set, where five kernels would take a minute.
"""

import runpy
import unicodedata

import matplotlib.pyplot as plt
import pytest
import tensorflow as tf

from tests.notebooks.data_sets import DATA_SETS
from utils import artifacts
from utils.config import load_config
from utils.paths import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "notebooks" / "scripts").glob("[0-9][0-9]_*.py"))
TINY = {
    "encoder": "sample_cnn",
    "units": 8,
    "embedding_dim": 8,
    "epochs": 1,
    "fine_tune_epochs": 0,
    "min_count": 1,
    "beam_width": 2,
    "max_length": 8,
}
# The data sets that the fast tests run; the slow tests run all.
FAST = ("karpathy_of_flickr8k", "one_photo_in_each_split", "captions_in_japanese")


@pytest.fixture
def eager():
    """Functions that run without being compiled, which is faster on a few photos."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """The input and the working folder, which the notebooks find by the environment."""
    monkeypatch.delenv("CAPTIONS_PRESET", raising=False)
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "working"))
    changes = [f"{name}={value}" for name, value in TINY.items()]
    monkeypatch.setenv("CAPTIONS_SET", ",".join(changes))
    (tmp_path / "input").mkdir()
    (tmp_path / "working").mkdir()
    return tmp_path / "input", tmp_path / "working"


def run_notebooks():
    """Run the scripts of the five notebooks."""
    for script in SCRIPTS:
        runpy.run_path(str(script))
        plt.close("all")


def normalize(texts):
    """Sorted captions, in one Unicode form and with single spaces."""
    return sorted(" ".join(unicodedata.normalize("NFC", text).split()) for text in texts)


slow_unless_chosen = [
    name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in DATA_SETS
]


@pytest.mark.parametrize("name", slow_unless_chosen)
def test_data_set_runs_through_all_notebooks(name, folders, eager, monkeypatch):
    folder, working = folders
    expected = DATA_SETS[name](folder)
    monkeypatch.chdir(SCRIPTS[0].parent)
    run_notebooks()

    config = load_config("flickr8k")
    features = artifacts.load("features", config)
    captions = artifacts.load("captions", config)
    predictions = artifacts.load("predictions", config)
    found = [text for texts in captions["captions"].values() for text in texts]
    wanted = [text for texts in expected.values() for text in texts]
    assert normalize(found) == normalize(wanted)
    assert len(captions["captions"]) == len(expected)
    assert set(predictions["names"]) <= set(features["names"])
    assert len(predictions["captions"]) == len(predictions["names"])
    page = (working / "gallery.html").read_text(encoding="utf-8")
    assert all(caption in page for caption in predictions["captions"])
