"""The tool that makes the tiny encoder: it runs, learns from both pooled views, mirrors rightly."""

import keras
import numpy as np
import pytest

from tests.pretraining import sample_cnn as pretrain
from utils.sample.cnn import build_cnn
from utils.sample.scenes import FACTS, sample_scenes


def test_scenes_become_pixels_and_numbers_of_facts():
    scenes = sample_scenes(5, seed=3)
    pixels, labels = pretrain.draw(scenes)
    assert pixels.shape == (5, 224, 224, 3) and pixels.dtype == np.uint8
    for fact, values in FACTS.items():
        assert [values[number] for number in labels[fact]] == [getattr(s, fact) for s in scenes]


@pytest.mark.slow
def test_pretraining_shows_both_sides_and_learns(monkeypatch, capsys):
    seen = []

    def fit(model, data, **options):
        for pixels, facts in data:
            seen.append((pixels.numpy(), [fact.numpy() for fact in facts]))
            model.train_on_batch(pixels, facts)

    monkeypatch.setattr(keras.Model, "fit", fit)
    monkeypatch.setattr(pretrain, "report", lambda named, seed: None)
    model = pretrain.pretrain(count=8, epochs=1, batch=16)
    ((pixels, facts),) = seen
    assert len(facts) == 2 * len(FACTS)
    by_fact = dict(zip(FACTS, facts, strict=False))
    for row, picture in enumerate(pixels):
        (twin,) = [n for n, other in enumerate(pixels) if (other == picture[:, ::-1]).all()]
        assert by_fact["side"][row] == 2 - by_fact["side"][twin]
        assert by_fact["subject"][row] == by_fact["subject"][twin]
    norms = [weight for weight in model.trainable_weights if "gamma" in weight.path]
    assert all((np.asarray(weight) != 1).any() for weight in norms)  # where they start


@pytest.mark.parametrize("unseen", [False, True])
def test_the_shipped_encoder_knows_scenes_it_was_not_trained_on(unseen):
    # One ridge regression from the pooled grid to each fact, tried on other scenes.
    model = build_cnn()
    pixels, labels = pretrain.draw(
        sample_scenes(300, seed=11) + sample_scenes(60, seed=12, unseen=unseen)
    )
    pooled = model.predict(pixels, batch_size=60, verbose=0).mean(axis=(1, 2))
    level = np.c_[(pooled - pooled.mean(0)) / (pooled.std(0) + 1e-6), np.ones(len(pooled))]
    learn, check = slice(None, 300), slice(300, None)
    for fact in ("subject", "color", "action", "place", "sky"):
        wanted = np.eye(len(FACTS[fact]))[labels[fact]]
        gram = level[learn].T @ level[learn] + 30 * np.eye(level.shape[1])
        weights = np.linalg.solve(gram, level[learn].T @ wanted[learn])
        right = (level[check] @ weights).argmax(1) == labels[fact][check]
        assert right.mean() > 0.7, fact
