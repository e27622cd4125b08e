"""The pretrained captioner works offline, is small, and knows what it does not know."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from utils.__main__ import main
from utils.config import Config
from utils.data.open_photos import find_open_photos
from utils.evaluation.confidence import describe_confidence
from utils.inference import Captioner
from utils.pretrained import MODEL_CARD, PRETRAINED_FILE
from utils.pretrained.captioner_file import read_captioner

MAX_BYTES = 12_000_000


@pytest.fixture(scope="module")
def saved():
    return read_captioner(PRETRAINED_FILE)


def test_file_is_small_and_holds_no_path_of_another_machine(saved):
    assert PRETRAINED_FILE.stat().st_size <= MAX_BYTES
    with np.load(PRETRAINED_FILE) as file:
        header = file["header"].tobytes().decode()
    settings = json.loads(header)["config"]
    paths = [value for value in settings.values() if isinstance(value, str) and "/" in value]
    assert paths == []
    assert saved.config.working == ""


def test_settings_are_those_of_the_preset_so_that_a_training_can_start_from_it(saved):
    preset = Config("flickr8k")
    for name in ("decoder", "units", "embedding_dim", "min_count", "max_length"):
        assert getattr(saved.config, name) == getattr(preset, name)


def test_model_card_states_what_the_file_holds(saved):
    card = MODEL_CARD.read_text(encoding="utf-8")
    assert f"{len(saved.tokenizer):,} tokens" in card
    assert f"{saved.config.units} units" in card
    rates = {
        "captions that are good": saved.confidence["validation_good"].mean(),
        "stated: captions": np.mean(
            [describe_confidence(x) == "assert" for x in saved.confidence["validation_confidence"]]
        ),
    }
    for row, rate in rates.items():
        stated = re.search(re.escape(row) + r" \| ([0-9.]+)%", card)
        assert stated is not None
        assert float(stated[1]) / 100 == pytest.approx(rate, abs=0.001)


def test_most_photographs_unlike_training_are_not_asserted(saved):
    photos = find_open_photos()
    rows = Captioner(saved)([photo.path for photo in photos])
    asserted = [row for row in rows if describe_confidence(row["confidence"]) == "assert"]
    assert len(photos) == 10
    assert len(asserted) <= 3
    # On the other hand it states the captions of photos like those of training.
    validation = [describe_confidence(x) for x in saved.confidence["validation_confidence"]]
    assert validation.count("assert") >= 0.8 * len(validation)


def test_command_captions_a_folder_without_a_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "nothing"))
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "nothing"))
    photos = {photo.name: photo.path for photo in find_open_photos()}
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("coffee", "retina"):
        path = Path(photos[name])
        (folder / path.name).write_bytes(path.read_bytes())
    assert main(["caption", str(folder), "--alt"]) == 0
    out, err = capsys.readouterr()
    assert out.count("No confident description.") == 2
    assert err.startswith("Captions by the pretrained captioner")
