"""Ranking: likelihoods are the whole sentences', and ranks are counted as told."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.small_captioner import build, random_inputs
from utils.data.tokenizer import PAD_ID
from utils.evaluation import retrieval
from utils.evaluation.retrieval import pmi_scores, retrieval_metrics, sequence_log_probs
from utils.models.captioners import CAPTIONERS


def some_sentences(count):
    words = random_inputs(photos=count, time=9)[1]
    for row, length in zip(words, np.random.RandomState(1).randint(3, 10, count), strict=True):
        row[length:] = PAD_ID
    return words


@pytest.mark.parametrize("kind", CAPTIONERS)
@pytest.mark.parametrize("pairs", [3, 12, 256])  # fewer than a photo's, some photos', all
def test_a_likelihood_is_that_of_the_whole_sentence(kind, pairs, monkeypatch):
    monkeypatch.setattr(retrieval, "PAIRS", pairs)
    captioner, (features, _), words = build(kind), random_inputs(photos=7), some_sentences(5)
    found = sequence_log_probs(captioner, features, words, progress=False)
    for photo, row in zip(features, found, strict=True):
        logits = captioner([np.repeat(photo[None], len(words), axis=0), words[:, :-1]])
        gains = tf.gather(tf.nn.log_softmax(logits), words[:, 1:], batch_dims=2).numpy()
        np.testing.assert_allclose(row, (gains * (words[:, 1:] != PAD_ID)).sum(axis=1), atol=1e-4)


def test_one_sentence_no_sentences_and_no_photos():
    captioner, (features, _), words = build("merge"), random_inputs(photos=4), some_sentences(2)
    whole = sequence_log_probs(captioner, features, words, progress=False)
    one = sequence_log_probs(captioner, features, words[1:], progress=False)
    np.testing.assert_allclose(one, whole[:, 1:], atol=1e-5)
    assert sequence_log_probs(captioner, features, words[:0], progress=False).shape == (4, 0)
    assert sequence_log_probs(captioner, features[:0], words, progress=False).shape == (0, 2)


def test_ranks_by_hand():
    scores = np.array([[3, 1, 2], [5, 4, 9], [1, 4, 7]], float)
    # Down the columns: 0 is second of its column, 1 ties (lost), 2 is second. Along the rows:
    # 0 is first, 1 is last of its row, 2 first.
    table = retrieval_metrics(scores, [0, 1, 2])
    assert table["R@1"] == {
        "photo for a sentence": 0,
        "sentence for a photo": pytest.approx(2 / 3),
    }
    assert table["median rank"] == {"photo for a sentence": 2, "sentence for a photo": 1}
    assert table["R@5"] == {"photo for a sentence": 1, "sentence for a photo": 1}


def test_of_several_sentences_of_a_photo_the_first_one_counts():
    scores = np.array([[1, 4, 3, 2], [1, 2, 3, 4]], float)
    table = retrieval_metrics(scores, [0, 0, 1, 1])
    assert table["R@1"]["sentence for a photo"] == 1
    table = retrieval_metrics(scores[::-1], [0, 0, 1, 1])
    assert table["median rank"]["sentence for a photo"] == 2.5  # two come before, and one


def test_telling_takes_away_what_a_sentence_is_likely_anyway():
    chance = np.random.RandomState(3)
    fits = chance.normal(size=(6, 6)) + 4 * np.eye(6)
    anyway = chance.uniform(-60, -20, size=6)  # of short and of long sentences
    assert retrieval_metrics(fits + anyway, range(6))["R@1"]["sentence for a photo"] < 0.5
    assert (
        retrieval_metrics(pmi_scores(fits + anyway), range(6))["R@1"]["sentence for a photo"] == 1
    )
    np.testing.assert_allclose(np.exp(pmi_scores(fits + anyway)).mean(axis=0), 1)
