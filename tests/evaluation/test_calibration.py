"""Reliability bins, calibration error and ROC AUC against brute force, and against scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from utils.evaluation.calibration import (
    NORMAL_95,
    expected_calibration_error,
    reliability_bins,
    roc_auc,
    wilson_interval,
)

# Many of these are edges of bins, and many are equal.
PROBABILITIES = st.one_of(st.integers(0, 20).map(lambda number: number / 20), st.floats(0, 1))
CAPTIONS = st.lists(st.tuples(PROBABILITIES, st.booleans()), min_size=1, max_size=60)


def group_by_comparison(captions, bins):
    """The captions of each bin: each confidence is compared with both edges of each bin."""
    groups = []
    for number in range(bins):
        group = []
        for confidence, good in captions:
            is_last = number == bins - 1
            below_upper_edge = confidence < (number + 1) / bins or (is_last and confidence == 1)
            if confidence >= number / bins and below_upper_edge:
                group.append((confidence, good))
        groups.append(group)
    return groups


def split_columns(captions):
    """The confidences and the labels of captions, as arrays."""
    confidence, good = zip(*captions, strict=True)
    return np.array(confidence), np.array(good)


@given(CAPTIONS, st.integers(1, 20))
def test_bins_are_those_of_comparing_each_confidence_with_each_edge(captions, bins):
    expected = [group for group in group_by_comparison(captions, bins) if group]
    found = reliability_bins(*split_columns(captions), bins)
    assert [group.size for group in found] == [len(group) for group in expected]
    assert sum(group.size for group in found) == len(captions)
    for group, members in zip(found, expected, strict=True):
        num_good = sum(good for _, good in members)
        assert group.confidence == pytest.approx(sum(each for each, _ in members) / len(members))
        assert group.fraction_good == pytest.approx(num_good / len(members))
        assert (group.low, group.high) == wilson_interval(num_good, len(members))


@given(CAPTIONS, st.integers(1, 20))
def test_calibration_error_is_the_mean_gap_of_all_captions(captions, bins):
    gaps = []
    for group in group_by_comparison(captions, bins):
        for _ in group:
            mean_confidence = sum(confidence for confidence, _ in group) / len(group)
            fraction_good = sum(good for _, good in group) / len(group)
            gaps.append(abs(mean_confidence - fraction_good))
    expected = sum(gaps) / len(captions)
    assert expected_calibration_error(*split_columns(captions), bins) == pytest.approx(expected)


def test_calibration_error_of_known_confidences():
    good = np.array([True] * 8 + [False] * 2)
    assert expected_calibration_error(np.full(10, 0.8), good) == pytest.approx(0)
    assert expected_calibration_error(np.full(10, 0.3), good) == pytest.approx(0.5)
    assert expected_calibration_error(good.astype(float), good) == 0


@given(st.integers(1, 500), st.floats(0, 1))
def test_interval_contains_the_probabilities_that_the_trials_do_not_contradict(count, share):
    successes = round(share * count)
    low, high = wilson_interval(successes, count)
    assert 0 <= low <= successes / count <= high <= 1
    assert low < high
    # Its ends are as many standard errors from the fraction as a 95 % interval allows.
    for end in (low, high):
        if 0 < end < 1:
            standard_error = np.sqrt(end * (1 - end) / count)
            assert abs(successes / count - end) == pytest.approx(NORMAL_95 * standard_error)


def test_interval_covers_the_true_probability_in_about_95_percent_of_samples():
    rng = np.random.default_rng(0)
    covered = []
    for probability in rng.uniform(0.05, 0.95, 4000):
        low, high = wilson_interval(int(rng.binomial(50, probability)), 50)
        covered.append(low <= probability <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


# Few different values, so that there are ties.
EXAMPLES = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40)


@given(EXAMPLES)
def test_roc_auc_is_the_fraction_of_pairs_in_order(examples):
    scores, labels = split_columns(examples)
    outcomes = []
    for positive, negative in itertools.product(scores[labels], scores[~labels]):
        outcomes.append(1.0 if positive > negative else 0.5 if positive == negative else 0.0)
    if outcomes:
        assert roc_auc(scores, labels) == pytest.approx(np.mean(outcomes))
        assert roc_auc(-scores, labels) == pytest.approx(1 - np.mean(outcomes))
        assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    else:
        assert np.isnan(roc_auc(scores, labels))


def test_roc_auc_of_a_thousand_confidences_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    labels = rng.random(1000) < 0.7
    scores = rng.normal(size=1000) + labels
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    rounded = scores.round(1)  # with ties
    assert roc_auc(rounded, labels) == pytest.approx(roc_auc_score(labels, rounded), abs=1e-12)
    assert 0.7 < roc_auc(scores, labels) < 0.85
