"""A notebook that a badge has opened alone first runs the notebooks that it needs."""

import pytest

from utils import artifacts, earlier_notebooks
from utils.config import Config
from utils.earlier_notebooks import missing_notebooks, run_earlier_notebooks
from utils.errors import CaptionsError


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A run on the drawn sample without artifacts, on a machine of Colab."""
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    return Config(working=str(tmp_path / "working"))


@pytest.fixture
def commands(monkeypatch):
    """The commands that are run; none of them really is."""
    recorded = []

    class Process:
        stdout = ("1 of 1  01_features\n", "  cell 1 of 47\n")
        returncode = 0

        def __init__(self, command, **options):
            recorded.append(command)

        def __enter__(self):
            return self

        def __exit__(self, *details):
            return None

    monkeypatch.setattr(earlier_notebooks.subprocess, "Popen", Process)
    return recorded


def test_missing_notebooks_are_those_before_the_present_one(config):
    assert missing_notebooks("01_features", config) == []
    assert missing_notebooks("03_train", config) == ["01_features", "02_text"]
    assert missing_notebooks("05_visualize", config) == [
        "01_features",
        "02_text",
        "03_train",
        "04_evaluate",
    ]


def test_notebooks_whose_artifacts_are_there_are_not_run(config, commands, capsys):
    artifacts.save("captions", {"captions": {}, "splits": {}}, config)
    artifacts.save("tokenizer", {"vocabulary": []}, config)
    run_earlier_notebooks("03_train", config)
    (command,) = commands
    assert command[-2:] == ["--only", "01_features"]
    assert config.working in command
    announcement, *progress = capsys.readouterr().out.splitlines()
    assert announcement.endswith(": 01_features")
    assert progress == ["1 of 1  01_features"]


def test_nothing_runs_on_a_machine_with_all_notebooks(config, commands, monkeypatch):
    monkeypatch.delenv("COLAB_RELEASE_TAG")
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    run_earlier_notebooks("05_visualize", config)
    assert commands == []


def test_no_training_on_photos_is_started(config, commands):
    run_earlier_notebooks("05_visualize", Config(preset="flickr8k", working=config.working))
    assert commands == []


def test_failure_prints_what_the_notebook_printed(config, tmp_path, capsys):
    (tmp_path / "working").write_text("a file where the folder should be")
    with pytest.raises(CaptionsError, match="01_features, 02_text: failed, see the lines above"):
        run_earlier_notebooks("03_train", config)
    assert "working" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.slow
def test_earlier_notebooks_leave_the_artifacts_that_are_needed(config, capsys):
    run_earlier_notebooks("03_train", config)
    assert "01_features, 02_text" in capsys.readouterr().out
    assert missing_notebooks("03_train", config) == []
    assert artifacts.load("tokenizer", config)["vocabulary"]
