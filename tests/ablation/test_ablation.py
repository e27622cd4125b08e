"""The ablation: every kind of run works on a small sample, and its page shows its results."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.ablation import experiment as ablation
from tests.ablation import table
from tests.ablation.runs import RUNS
from tests.ablation.transformer import TransformerCaptioner
from tests.page import PAGE
from utils.data.photos import find_photos
from utils.models.captioners import CAPTIONERS

SMALL_RUNS = {
    "frozen": {"epochs": 2},
    "not mirrored": {"epochs": 1, "mirrored": False},
    "fine-tuned": {"after": "frozen", "fine_tune_epochs": 1},
    "SCST": {"after": "fine-tuned", "scst_epochs": 1},
    "transformer": {"epochs": 1, "decoder": "transformer", "units": 32},
    "ensemble": {"ensemble_of": "frozen"},
}
SMALL_CONFIG = "units=32,embedding_dim=16,batch_size=6,min_count=1,learning_rate=0.01"


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An experiment with a few drawn photos and small captioners."""

    def find_few_photos(config):
        photos = find_photos(replace(config, working=str(tmp_path / "sample")))
        splits = {split: names[:12] for split, names in photos.splits.items()}
        return replace(photos, splits=splits)

    monkeypatch.setattr(ablation, "find_photos", find_few_photos)
    monkeypatch.setattr(ablation, "RUNS", SMALL_RUNS)
    monkeypatch.setitem(CAPTIONERS, "transformer", TransformerCaptioner)
    monkeypatch.setenv("CAPTIONS_SET", SMALL_CONFIG)
    return ablation.Experiment(tmp_path / "runs")


@pytest.mark.slow
def test_every_kind_of_run_is_scored_and_trained_only_once(experiment, monkeypatch):
    rows = {name: experiment.run(name, 1) for name in SMALL_RUNS}
    for row in rows.values():
        assert len(row["photos"]) == 12
        assert row["interval"][0] <= row["interval"][1]
        mean = np.mean(row["photos"]) / 1000
        assert row["scores"]["beam 3"]["CIDEr-D"] == pytest.approx(mean, abs=1e-3)
    monkeypatch.setattr(ablation, "train_stage", None)
    repeated = {name: experiment.run(name, 1) for name in SMALL_RUNS}
    assert repeated == rows


def test_two_runs_are_compared_photo_by_photo():
    better = {"photos": [1500, 500, 900]}
    worse = {"photos": [1000, 0, 400]}
    difference, p_value = table.compare(better, worse)
    assert difference == "+0.500 (+0.500 to +0.500)"
    assert p_value.startswith("0.0")


def test_page_contains_the_table_of_the_results():
    page = PAGE.read_text(encoding="utf-8")
    assert f"<!-- table -->\n{table.table()}\n<!-- end of table -->" in page


def test_figure_shows_the_current_results():
    with Image.open(table.FIGURE) as figure:
        assert figure.info["Description"] == table.results_fingerprint()


def test_every_result_belongs_to_a_run_that_is_listed():
    for line in table.RESULTS.read_text().splitlines():
        row = json.loads(line)
        assert RUNS[row["run"]] == row["changes"]
