"""The confidence of captions: each signal against another computation, and what it must refuse."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from utils.config import Config
from utils.data.tokenizer import BOS_ID, EOS_ID
from utils.decoding.beam_search import generate
from utils.evaluation import confidence
from utils.evaluation.retrieval import sequence_log_probs
from utils.models.captioners import build_captioner
from utils.models.encoders import build_encoder
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner, build_top_blocks, split_encoder

CONFIG = Config(units=8, embedding_dim=8, max_length=5, beam_width=2)
CELLS, CHANNELS = 4, 6


@pytest.fixture(scope="module")
def captioner():
    return build_captioner(CHANNELS, 12, CONFIG)


@pytest.fixture(scope="module")
def grid():
    return np.random.RandomState(1).rand(40, CELLS, CHANNELS).astype(np.float16)


@pytest.fixture(scope="module")
def fitted(captioner, grid):
    """The confidence fitted on 20 validation photos, every second caption of which is good."""
    rows = np.arange(20, 40)
    output = generate(captioner, grid, CONFIG, rows=rows, progress=False)
    good = np.arange(20) % 2 == 1
    return confidence.fit_confidence(captioner, grid, np.arange(20), rows, output, good)


def test_logistic_regression_agrees_with_scikit_learn():
    rng = np.random.RandomState(0)
    features = rng.randn(200, 2)
    labels = features @ [1.0, -2.0] + rng.randn(200) > 0.3
    inverse_penalty = 1 / confidence.L2_PENALTY
    expected = LogisticRegression(C=inverse_penalty, tol=1e-10).fit(features, labels)
    coefficients = confidence.fit_logistic_regression(features, labels)
    np.testing.assert_allclose(coefficients[0], expected.intercept_[0], atol=1e-4)
    np.testing.assert_allclose(coefficients[1:], expected.coef_[0], atol=1e-4)


@pytest.mark.parametrize(
    ("good", "bad", "problem"),
    [
        (70, 30, None),
        (70, 29, "fitted on 99 validation photos, at least 100 are needed"),
        (100, 0, "all of the 100 validation captions are good"),
        (0, 1000, "none of the 1,000 validation captions are good"),
    ],
)
def test_few_photos_or_captions_of_one_kind_are_a_problem(good, bad, problem):
    found = confidence.find_problem(np.repeat([True, False], [good, bad]))
    assert found is None if problem is None else found.startswith(problem)


def test_fitted_confidence_names_its_problem(fitted):
    assert fitted["problem"] == confidence.find_problem(fitted["validation_good"])
    assert fitted["problem"].startswith("fitted on 20 validation photos")


@pytest.mark.parametrize("label", [True, False])
def test_one_kind_of_label_gives_its_smoothed_rate(label):
    coefficients = confidence.fit_logistic_regression(np.zeros((8, 2)), np.full(8, label))
    rate = 1 / (1 + np.exp(-coefficients[0]))
    assert rate == pytest.approx(9 / 10 if label else 1 / 10)
    assert not coefficients[1:].any()


def test_separable_labels_give_finite_coefficients():
    features = np.linspace(-1, 1, 20)[:, None]
    coefficients = confidence.fit_logistic_regression(features, features[:, 0] > 0)
    assert np.isfinite(coefficients).all() and coefficients[1] > 0


def test_log_probs_of_a_photo_are_those_of_retrieval(captioner, grid):
    token_ids = np.array([[4, 5, EOS_ID, 0, 0], [6, EOS_ID, 0, 0, 0], [4, 5, 6, 7, 8]], np.int32)
    photo = grid[0].astype(np.float32)
    log_probs = confidence.log_probs_for_photo(captioner, photo, token_ids)
    with_bos = np.column_stack([np.full(3, BOS_ID), token_ids]).astype(np.int32)
    expected = sequence_log_probs(captioner, photo[None], with_bos, progress=False)[0]
    np.testing.assert_allclose(log_probs, expected, atol=1e-5)
    alone = confidence.log_probs_for_photo(captioner, photo, token_ids[:1])
    np.testing.assert_allclose(alone, expected[:1], atol=1e-5)


def test_caption_of_the_mean_photo_has_no_information_about_it(captioner, grid, fitted):
    mean_photo = fitted["mean_input"][None]
    output = generate(captioner, mean_photo, CONFIG, progress=False)
    log_prob, pmi = confidence.caption_signals(captioner, output, fitted)[0]
    length = np.count_nonzero(output.token_ids[0])
    assert log_prob == pytest.approx(output.log_probs[0] / length)
    assert pmi == pytest.approx(0, abs=1e-5)


def test_pooled_features_are_those_of_the_fine_tuned_encoder():
    encoder = build_encoder("sample_cnn")
    backbone, top_blocks = split_encoder(encoder)
    data = {"encoder": "sample_cnn", "top_blocks": top_blocks.get_weights()}
    captioner = build_captioner(top_blocks.output_shape[2], 12, CONFIG)
    end_to_end = EndToEndCaptioner(build_top_blocks(data), captioner)
    pixels = np.random.RandomState(0).randint(0, 256, (3, *encoder.input_shape[1:]))
    features = np.asarray(backbone(pixels.astype(np.float32)))
    expected = np.asarray(encoder(pixels.astype(np.float32))).mean(axis=1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for model in (end_to_end, Ensemble([end_to_end, end_to_end])):
        pooled = confidence.pooled_features(model, features, np.arange(3))
        np.testing.assert_allclose(pooled, expected, atol=1e-4)


def test_feature_distance_is_the_mean_over_the_nearest_training_photos():
    references = np.eye(8)
    photo = np.zeros((1, 8))
    photo[0, :2] = 0.5**0.5
    # Two of the five nearest have cosine similarity 0.707, the others 0.
    distance = confidence.feature_distance(photo, {"reference_features": references})
    assert distance[0] == pytest.approx(1 - 2 * 0.5**0.5 / 5)


def test_familiarity_is_the_fraction_of_the_farthest_twentieth_that_is_farther_still():
    rng = np.random.RandomState(0)
    validation = rng.exponential(size=100_000)
    distances = np.array([0.0, 1.0, 3.1, 4.0, 5.0, 7.0])
    farthest = validation[validation >= np.quantile(validation, 0.95)]
    expected = [np.mean(farthest > distance) for distance in distances]
    np.testing.assert_allclose(confidence.familiarity(distances, validation), expected, atol=0.02)


def test_familiarity_from_few_photos_is_on_average_that_from_many():
    rng = np.random.RandomState(0)
    few = [rng.exponential(size=200) for _ in range(100)]
    distances = np.array([2.0, 3.5, 5.0])
    values = np.mean([confidence.familiarity(distances, sample) for sample in few], axis=0)
    many = confidence.familiarity(distances, rng.exponential(size=100_000))
    np.testing.assert_allclose(values, many, atol=0.05)


@pytest.mark.parametrize("count", [1, 2, 20])
def test_familiarity_from_very_few_photos_tells_near_from_far(count):
    validation = np.linspace(0.1, 0.2, count)
    values = confidence.familiarity(np.array([0.05, 1.0]), validation)
    assert values[0] == 1
    assert values[1] < 1e-3


def test_validation_photos_get_the_confidence_that_was_fitted(captioner, grid, fitted):
    rows = np.arange(20, 40)
    output = generate(captioner, grid, CONFIG, rows=rows, progress=False)
    values = confidence.caption_confidence(captioner, fitted, grid, output, rows)
    assert fitted["validation_good"].tolist() == [False, True] * 10
    pooled = confidence.pooled_features(captioner, grid, rows)
    signals = confidence.caption_signals(captioner, output, fitted)
    logits = np.column_stack([np.ones(20), confidence.standardize(signals, fitted)])
    probabilities = 1 / (1 + np.exp(-logits @ fitted["coefficients"]))
    familiarity = confidence.familiarity(
        confidence.feature_distance(pooled, fitted), fitted["validation_distances"]
    )
    np.testing.assert_allclose(values, probabilities * familiarity, atol=1e-5)


def test_recorded_confidence_of_a_photo_is_fitted_without_it(captioner, grid, fitted):
    rows = np.arange(20, 40)
    pooled = confidence.pooled_features(captioner, grid, rows)
    output = generate(captioner, grid, CONFIG, rows=rows, progress=False)
    signals = confidence.caption_signals(captioner, output, fitted)
    inputs = confidence.standardize(signals, fitted)
    others = np.arange(20) % confidence.FOLDS != 3
    model = LogisticRegression(C=1 / confidence.L2_PENALTY, tol=1e-10)
    model.fit(inputs[others], fitted["validation_good"][others])
    distances = confidence.feature_distance(pooled, fitted)
    expected = model.predict_proba(inputs)[:, 1] * confidence.familiarity(
        distances, fitted["validation_distances"]
    )
    recorded = fitted["validation_confidence"]
    np.testing.assert_allclose(recorded[~others], expected[~others], atol=1e-4)


def test_confidence_of_a_single_validation_photo_can_be_fitted(captioner, grid):
    output = generate(captioner, grid, CONFIG, rows=[5], progress=False)
    fitted = confidence.fit_confidence(
        captioner, grid, np.arange(5), np.array([5]), output, np.ones(1, bool)
    )
    assert fitted["validation_confidence"] == pytest.approx(2 / 3)


def test_photo_unlike_all_training_photos_has_no_confidence(captioner, grid, fitted):
    strange = grid[:2].copy()
    strange[1] = -strange[1]
    output = generate(captioner, strange, CONFIG, progress=False)
    values = confidence.caption_confidence(captioner, fitted, strange, output)
    assert values[0] > 0.1
    assert values[1] == 0


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (None, "hedge"),
        (0.9, "assert"),
        (0.5, "assert"),
        (0.4, "hedge"),
        (0.2, "hedge"),
        (0.1, "none"),
    ],
)
def test_low_confidence_is_hedged_or_not_stated(value, verdict):
    assert confidence.describe_confidence(value) == verdict


def test_confidence_of_no_photos_is_empty(captioner, grid, fitted):
    output = generate(captioner, grid, CONFIG, rows=[], progress=False)
    values = confidence.caption_confidence(captioner, fitted, grid, output, rows=[])
    assert values.shape == (0,)
