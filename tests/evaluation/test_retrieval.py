"""Retrieval: log-probabilities of whole captions, PMI, and ranks worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.small_captioner import build, random_inputs
from utils.data.tokenizer import PAD_ID
from utils.evaluation import retrieval
from utils.evaluation.retrieval import pmi_scores, retrieval_metrics, sequence_log_probs
from utils.models.captioners import CAPTIONERS


def random_token_ids(count):
    """Padded captions of 3 to 9 random tokens."""
    _, token_ids = random_inputs(photos=count, time=9)
    lengths = np.random.RandomState(1).randint(3, 10, count)
    for row, length in zip(token_ids, lengths, strict=True):
        row[length:] = PAD_ID
    return token_ids


@pytest.mark.parametrize("kind", CAPTIONERS)
# A batch holds a part of one photo's captions, the captions of two photos, or everything.
@pytest.mark.parametrize("pairs", [3, 12, 256])
def test_sequence_log_prob_is_the_sum_over_the_tokens(kind, pairs, monkeypatch):
    monkeypatch.setattr(retrieval, "PAIRS_PER_BATCH", pairs)
    captioner = build(kind)
    features, _ = random_inputs(photos=7)
    token_ids = random_token_ids(5)
    inputs = token_ids[:, :-1]
    targets = token_ids[:, 1:]
    log_probs = sequence_log_probs(captioner, features, token_ids, progress=False)
    for photo_features, photo_log_probs in zip(features, log_probs, strict=True):
        repeated = np.repeat(photo_features[None], len(token_ids), axis=0)
        token_log_probs = tf.nn.log_softmax(captioner([repeated, inputs]))
        target_log_probs = tf.gather(token_log_probs, targets, batch_dims=2).numpy()
        expected = (target_log_probs * (targets != PAD_ID)).sum(axis=1)
        np.testing.assert_allclose(photo_log_probs, expected, atol=1e-4)


def test_one_caption_no_captions_and_no_photos():
    captioner = build("merge")
    features, _ = random_inputs(photos=4)
    token_ids = random_token_ids(2)
    both = sequence_log_probs(captioner, features, token_ids, progress=False)
    one = sequence_log_probs(captioner, features, token_ids[1:], progress=False)
    np.testing.assert_allclose(one, both[:, 1:], atol=1e-5)
    assert sequence_log_probs(captioner, features, token_ids[:0], progress=False).shape == (4, 0)
    assert sequence_log_probs(captioner, features[:0], token_ids, progress=False).shape == (0, 2)


def test_retrieval_metrics_by_hand():
    scores = np.array([[3, 1, 2], [5, 4, 9], [1, 4, 7]], float)
    # Text-to-image, down the columns: the right photos are second, second (a tie counts as a miss)
    # and second. Image-to-text, along the rows: the right captions are first, last and first.
    table = retrieval_metrics(scores, [0, 1, 2])
    assert table["R@1"] == {
        "text-to-image": 0,
        "image-to-text": pytest.approx(2 / 3),
    }
    assert table["median rank"] == {"text-to-image": 2, "image-to-text": 1}
    assert table["R@5"] == {"text-to-image": 1, "image-to-text": 1}


def test_best_ranked_caption_of_a_photo_counts():
    scores = np.array([[1, 4, 3, 2], [1, 2, 3, 4]], float)
    table = retrieval_metrics(scores, [0, 0, 1, 1])
    assert table["R@1"]["image-to-text"] == 1
    table = retrieval_metrics(scores[::-1], [0, 0, 1, 1])
    # Two captions of photo 1 rank before the best one of photo 0, and one in the other direction.
    assert table["median rank"]["image-to-text"] == 2.5


def test_pmi_removes_the_prior_probability_of_a_caption():
    rng = np.random.RandomState(3)
    relevance = rng.normal(size=(6, 6)) + 4 * np.eye(6)
    prior = rng.uniform(-60, -20, size=6)  # short captions are more likely than long ones
    log_probs = relevance + prior
    scores = pmi_scores(log_probs)
    assert retrieval_metrics(log_probs, range(6))["R@1"]["image-to-text"] < 0.5
    assert retrieval_metrics(scores, range(6))["R@1"]["image-to-text"] == 1
    np.testing.assert_allclose(np.exp(scores).mean(axis=0), 1)
