"""The ablation runs each lever on the sample, nothing twice, and its page says what it found."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.ablation import study, table
from tests.ablation.runs import RUNS
from tests.ablation.transformer import Transformer
from tests.page import PAGE
from utils.data.photos import find_photos
from utils.models.captioners import CAPTIONERS

SMALL = {
    "frozen": {"epochs": 2},
    "not mirrored": {"epochs": 1, "mirrored": False},
    "tuned": {"after": "frozen", "fine_tune_epochs": 1},
    "on the score": {"after": "tuned", "scst_epochs": 1},
    "transformer": {"epochs": 1, "captioner": "transformer", "units": 32},
    "three": {"members": "frozen"},
}


@pytest.fixture
def laboratory(tmp_path, monkeypatch):
    """A laboratory with a few drawn photos and small captioners."""

    def few(config):
        photos = find_photos(replace(config, working=str(tmp_path / "world")))
        return replace(photos, splits={key: names[:12] for key, names in photos.splits.items()})

    monkeypatch.setattr(study, "find_photos", few)
    monkeypatch.setattr(study, "RUNS", SMALL)
    monkeypatch.setitem(CAPTIONERS, "transformer", Transformer)
    monkeypatch.setenv(
        "CAPTIONS_SET", "units=32,embedding_dim=16,batch_size=6,min_count=1,learning_rate=0.01"
    )
    return study.Laboratory(tmp_path / "runs")


@pytest.mark.slow
def test_every_lever_runs_and_nothing_is_trained_twice(laboratory, monkeypatch):
    rows = {name: laboratory.run(name, 1) for name in SMALL}
    for row in rows.values():
        assert len(row["photos"]) == 12 and row["interval"][0] <= row["interval"][1]
        scores = row["scores"]["beam 3"]
        assert scores["CIDEr-D"] == pytest.approx(np.mean(row["photos"]) / 1000, abs=1e-3)
    monkeypatch.setattr(study, "train_stage", None)
    again = {name: laboratory.run(name, 1) for name in SMALL}
    assert again == rows


def test_the_difference_of_two_runs_is_of_the_same_photos():
    first, second = {"photos": [1500, 500, 900]}, {"photos": [1000, 0, 400]}
    gap, p = table.difference(first, second)
    assert gap == "+0.500 (+0.500 to +0.500)" and p.startswith("0.0")


def test_the_page_holds_the_table_of_the_results():
    page = PAGE.read_text(encoding="utf-8")
    assert f"<!-- table -->\n{table.table()}\n<!-- end of table -->" in page


def test_the_picture_shows_the_results():
    with Image.open(table.PICTURE) as picture:
        assert picture.info["Description"] == table.shown()


def test_every_result_is_of_a_run_that_is_described():
    for line in table.RESULTS.read_text().splitlines():
        row = json.loads(line)
        assert RUNS[row["run"]] == row["changes"]
