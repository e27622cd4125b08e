"""The sample's CNN can be trained, and the one in the package recognizes facts."""

import keras
import numpy as np
import pytest

from tests.pretraining import sample_cnn
from utils.sample.cnn import build_cnn, save_weights
from utils.sample.scenes import FACTS, sample_scenes


def test_scenes_become_pixels_and_labels():
    scenes = sample_scenes(5, seed=3)
    pixels, labels = sample_cnn.draw_scenes(scenes)
    assert pixels.shape == (5, 224, 224, 3)
    assert pixels.dtype == np.uint8
    for fact, values in FACTS.items():
        assert [values[label] for label in labels[fact]] == [getattr(s, fact) for s in scenes]


def test_saved_weights_are_loaded_in_half_precision(tmp_path):
    model = build_cnn(weights=None)
    save_weights(model, tmp_path / "cnn.npz")
    loaded = build_cnn(tmp_path / "cnn.npz")
    for original, copy in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(original.astype(np.float16).astype(np.float32), copy)


@pytest.mark.slow
def test_pretraining_uses_mirrored_pictures_and_updates_weights(monkeypatch):
    batches = []

    def fit(model, data, **options):
        for pixels, labels in data:
            batches.append((pixels.numpy(), [label.numpy() for label in labels]))
            model.train_on_batch(pixels, labels)

    monkeypatch.setattr(keras.Model, "fit", fit)
    monkeypatch.setattr(sample_cnn, "print_accuracy", lambda classifier, seed: None)
    model = sample_cnn.pretrain(count=8, epochs=1, batch_size=16)
    ((pixels, labels),) = batches
    assert len(labels) == 2 * len(FACTS)
    labels_by_fact = dict(zip(FACTS, labels, strict=False))
    for row, picture in enumerate(pixels):
        mirror_image = picture[:, ::-1]
        (mirrored_row,) = [i for i, other in enumerate(pixels) if (other == mirror_image).all()]
        sides = labels_by_fact["side"]
        subjects = labels_by_fact["subject"]
        assert sides[row] == 2 - sides[mirrored_row]
        assert subjects[row] == subjects[mirrored_row]
    scales = [weight for weight in model.trainable_weights if "gamma" in weight.path]
    assert all((np.asarray(scale) != 1).any() for scale in scales)  # they are initialized with 1


@pytest.mark.parametrize("unseen", [False, True])
def test_facts_of_new_scenes_are_predicted_from_the_features(unseen):
    """Ridge regression from the pooled grid to each fact, evaluated on other scenes."""
    train_scenes = sample_scenes(300, seed=11)
    test_scenes = sample_scenes(60, seed=12, unseen=unseen)
    pixels, labels = sample_cnn.draw_scenes(train_scenes + test_scenes)
    pooled = build_cnn().predict(pixels, batch_size=60, verbose=0).mean(axis=(1, 2))
    standardized = (pooled - pooled.mean(axis=0)) / (pooled.std(axis=0) + 1e-6)
    inputs = np.c_[standardized, np.ones(len(standardized))]
    train = slice(None, 300)
    test = slice(300, None)
    gram_matrix = inputs[train].T @ inputs[train] + 30 * np.eye(inputs.shape[1])
    for fact in ("subject", "color", "action", "place", "sky"):
        one_hot = np.eye(len(FACTS[fact]))[labels[fact]]
        weights = np.linalg.solve(gram_matrix, inputs[train].T @ one_hot[train])
        predicted = (inputs[test] @ weights).argmax(axis=1)
        accuracy = (predicted == labels[fact][test]).mean()
        assert accuracy > 0.7, fact
