"""An experiment with a few drawn photos and small captioners, for the tests of the ablation."""

from dataclasses import replace

import pytest

from tests.ablation import experiment, photo_data
from tests.ablation.transformer import TransformerCaptioner
from utils.config import Config
from utils.data.photos import find_photos
from utils.models.captioners import CAPTIONERS

SMALL_RUNS = {
    "frozen": {"epochs": 2},
    "not mirrored": {"epochs": 1, "mirrored": False},
    "fine-tuned": {"after": "frozen", "fine_tune_epochs": 1},
    "views": {"after": "frozen", "fine_tune_epochs": 1, "views": 4},
    "SCST": {"after": "fine-tuned", "scst_epochs": 1},
    "transformer": {"epochs": 1, "decoder": "transformer", "units": 32},
    "ensemble": {"ensemble_of": "frozen"},
}
SMALL_CONFIG = "units=32,embedding_dim=16,batch_size=6,min_count=1,learning_rate=0.01"


@pytest.fixture(scope="session")
def few_photos(tmp_path_factory):
    """Twelve drawn photos per split."""
    photos = find_photos(Config("sample", working=str(tmp_path_factory.mktemp("sample"))))
    splits = {split: names[:12] for split, names in photos.splits.items()}
    return replace(photos, splits=splits)


@pytest.fixture
def small_experiment(few_photos, tmp_path, monkeypatch):
    """An experiment whose trainings take seconds, with a list of photos of its own."""
    photos = replace(few_photos, paths=dict(few_photos.paths))
    monkeypatch.setattr(photo_data, "find_photos", lambda config: photos)
    monkeypatch.setattr(experiment, "RUNS", SMALL_RUNS)
    monkeypatch.setitem(CAPTIONERS, "transformer", TransformerCaptioner)
    monkeypatch.setenv("CAPTIONS_SET", SMALL_CONFIG)
    return experiment.Experiment(tmp_path / "runs")
