"""Retrieval: log-probabilities of whole captions, PMI, and ranks worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.small_captioner import build, random_inputs
from utils.data.tokenizer import PAD_ID
from utils.evaluation import retrieval
from utils.evaluation.retrieval import pmi_scores, retrieval_metrics, sequence_log_probs
from utils.models.captioners import CAPTIONERS


def some_captions(count):
    words = random_inputs(photos=count, time=9)[1]
    for row, length in zip(words, np.random.RandomState(1).randint(3, 10, count), strict=True):
        row[length:] = PAD_ID
    return words


@pytest.mark.parametrize("kind", CAPTIONERS)
@pytest.mark.parametrize("pairs", [3, 12, 256])  # fewer than a photo's, some photos', all
def test_sequence_log_prob_is_the_sum_over_the_tokens(kind, pairs, monkeypatch):
    monkeypatch.setattr(retrieval, "PAIRS_PER_BATCH", pairs)
    captioner, (features, _), words = build(kind), random_inputs(photos=7), some_captions(5)
    found = sequence_log_probs(captioner, features, words, progress=False)
    for photo, row in zip(features, found, strict=True):
        logits = captioner([np.repeat(photo[None], len(words), axis=0), words[:, :-1]])
        gains = tf.gather(tf.nn.log_softmax(logits), words[:, 1:], batch_dims=2).numpy()
        np.testing.assert_allclose(row, (gains * (words[:, 1:] != PAD_ID)).sum(axis=1), atol=1e-4)


def test_one_caption_no_captions_and_no_photos():
    captioner, (features, _), words = build("merge"), random_inputs(photos=4), some_captions(2)
    whole = sequence_log_probs(captioner, features, words, progress=False)
    one = sequence_log_probs(captioner, features, words[1:], progress=False)
    np.testing.assert_allclose(one, whole[:, 1:], atol=1e-5)
    assert sequence_log_probs(captioner, features, words[:0], progress=False).shape == (4, 0)
    assert sequence_log_probs(captioner, features[:0], words, progress=False).shape == (0, 2)


def test_retrieval_metrics_by_hand():
    scores = np.array([[3, 1, 2], [5, 4, 9], [1, 4, 7]], float)
    # Down the columns: 0 is second of its column, 1 ties (lost), 2 is second. Along the rows:
    # 0 is first, 1 is last of its row, 2 first.
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
    assert table["median rank"]["image-to-text"] == 2.5  # two come before, and one


def test_pmi_removes_the_prior_probability_of_a_caption():
    rng = np.random.RandomState(3)
    fits = rng.normal(size=(6, 6)) + 4 * np.eye(6)
    anyway = rng.uniform(-60, -20, size=6)  # of short and of long sentences
    assert retrieval_metrics(fits + anyway, range(6))["R@1"]["image-to-text"] < 0.5
    assert retrieval_metrics(pmi_scores(fits + anyway), range(6))["R@1"]["image-to-text"] == 1
    np.testing.assert_allclose(np.exp(pmi_scores(fits + anyway)).mean(axis=0), 1)
