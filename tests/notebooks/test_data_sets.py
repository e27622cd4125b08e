"""Small data sets as users have them, through all five notebooks.

Notebooks 3 to 5 read what 1 and 2 have saved, and the photos. They run once for all data sets of
which 1 and 2 save the same, such as the same photos and captions in files of several formats.
"""

import hashlib
import unicodedata

import pytest

from tests.notebooks.data_sets import DATA_SETS
from tests.notebooks.in_process import NAMES, fast_scripts, run_scripts
from utils import artifacts, feature_grids
from utils.config import load_config

# The data set that the fast tests run; the slow tests run all others.
FAST = ("one_photo_in_each_split_in_japanese",)


@pytest.fixture
def folders(tmp_path):
    """The input and the working folder, which the notebooks find by the environment."""
    folders = tmp_path / "input", tmp_path / "working"
    with fast_scripts() as patch:
        for folder in folders:
            folder.mkdir()
            patch.setenv(f"CAPTIONS_{folder.name.upper()}", str(folder))
        yield folders


def normalize(texts):
    """Sorted captions, in one Unicode form and with single spaces."""
    return sorted(" ".join(unicodedata.normalize("NFC", text).split()) for text in texts)


slow_unless_chosen = [
    name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in DATA_SETS
]


def digest_of_artifacts(config):
    """A digest of what notebooks 1 and 2 have saved: features, captions, splits, vocabulary."""
    features = artifacts.load("features", config)
    saved = [features["names"], artifacts.load("captions", config)]
    saved.append(artifacts.load("tokenizer", config))
    digest = hashlib.sha256(repr(saved).encode())
    digest.update(feature_grids.load_grid(features, config).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def complete():
    """The digests of the data sets that have run through all notebooks."""
    return set()


@pytest.mark.parametrize("name", slow_unless_chosen)
def test_data_set_runs_through_all_notebooks(name, folders, complete):
    folder, working = folders
    expected = DATA_SETS[name](folder)
    run_scripts(NAMES[:2])

    config = load_config("flickr8k")
    features = artifacts.load("features", config)
    captions = artifacts.load("captions", config)
    found = [text for texts in captions["captions"].values() for text in texts]
    wanted = [text for texts in expected.values() for text in texts]
    assert normalize(found) == normalize(wanted)
    assert len(captions["captions"]) == len(expected)

    digest = digest_of_artifacts(config)
    if digest not in complete:
        run_scripts(NAMES[2:])
        predictions = artifacts.load("predictions", config)
        assert set(predictions["names"]) <= set(features["names"])
        assert len(predictions["captions"]) == len(predictions["names"])
        page = (working / "gallery.html").read_text(encoding="utf-8")
        assert all(caption in page for caption in predictions["captions"])
        complete.add(digest)
