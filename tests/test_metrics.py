"""Scores against nltk, against brute force, and against figures that can be worked out by hand."""

import itertools
import random

import numpy as np
import pytest
from nltk.translate.bleu_score import corpus_bleu

from utils.metrics import bleu, cider_d, document_frequencies, longest_common, rouge_l
from utils.text import words_of

WORDS = ["a", "dog", "cat", "runs", "in", "the", "red", "snow", "with", "two"]


def some_captions(photos, seed):
    """Random candidates and five references each, from few words so that much is shared."""
    chance = random.Random(seed)

    def caption():
        return " ".join(chance.choices(WORDS, k=8))

    return [caption() for _ in range(photos)], [
        [caption() for _ in range(5)] for _ in range(photos)
    ]


def test_bleu_is_nltks():
    candidates, references = some_captions(40, 1)
    said = [[words_of(text) for text in group] for group in references]
    for order in range(1, 5):
        theirs = corpus_bleu(said, [words_of(text) for text in candidates], [1 / order] * order)
        assert bleu(candidates, references)[0][order - 1] == pytest.approx(theirs, abs=1e-6)


# What pycocoevalcap 1.2 says of these captions.
CANDIDATES = [
    "a dog runs in the snow",
    "two girls dance in the rain with a red kite",
    "a a cat cat sits",
    "a man",
]
REFERENCES = [
    ["a brown dog runs through the snow", "the dog runs in deep snow", "a dog in the snow"],
    [
        "two girls are dancing in the rain",
        "girls with a red kite dance",
        "two children dance in the rain with a kite",
    ],
    ["a cat sits on a wall", "the cat is sitting", "a grey cat"],
    ["a man plays the guitar at night", "the man is singing", "a man with a guitar"],
]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (rouge_l, [0.92424242, 0.85017422, 0.63763066, 0.53043478]),
        (cider_d, [3.65433168, 3.82638435, 1.22938272, 1.92750232]),
    ],
)
def test_scores_are_those_of_the_fields_toolkit(metric, expected):
    score, each = metric(CANDIDATES, REFERENCES)
    np.testing.assert_allclose(each, expected, rtol=1e-7)
    assert score == pytest.approx(np.mean(expected))


def test_bleu_is_the_toolkits_for_the_corpus_and_for_each():
    corpus, each = bleu(CANDIDATES, REFERENCES)
    np.testing.assert_allclose(corpus, [0.95652174, 0.89749206, 0.75454762, 0.61515517], rtol=1e-7)
    by_order = [
        [1.0, 1.0, 0.8, 0.367879],
        [1.0, 0.942809, 0.632456, 0.367879],
        [0.793701, 0.87358, 5e-06, 0.003679],
        [0.000114, 0.785629, 0.0, 0.000368],
    ]
    np.testing.assert_allclose(each.T, by_order, atol=1e-6)


def test_bleu_by_hand():
    # 3 of 4 words are hit, the second "a" is not; 1 of 3 pairs; no penalty.
    (one, two, *_), _ = bleu(["a a dog runs"], [["the dog runs a lot"] * 2 + ["dog runs now"]])
    shorter = 1.0  # of lengths 5 and 3, both 1 away from 4, the shorter one is taken
    assert one == pytest.approx(shorter * 3 / 4)
    assert two == pytest.approx(shorter * np.sqrt(3 / 4 * 1 / 3))


def test_a_caption_shorter_than_the_closest_reference_is_marked_down():
    (one, *_), _ = bleu(["a dog"], [["a dog runs", "a dog runs far away"]])
    assert one == pytest.approx(np.exp(1 - 3 / 2))


def test_the_longest_common_subsequence_is_brute_forces():
    chance = random.Random(2)
    for _ in range(60):
        first, second = (chance.choices("abc", k=chance.randrange(7)) for _ in range(2))
        common = [
            len(part)
            for length in range(len(first) + 1)
            for part in itertools.combinations(first, length)
            if is_subsequence(part, second)
        ]
        assert longest_common(first, second) == max(common)


def is_subsequence(part, whole):
    """Whether the items of `part` stand in `whole` in this order."""
    rest = iter(whole)
    return all(item in rest for item in part)


def test_rouge_l_by_hand():
    # "a dog" is common: precision 2/3, recall 2/4, F with beta 1.2.
    score, each = rouge_l(["a dog sleeps"], [["a big dog runs"]])
    expected = 2.44 * (2 / 3) * (1 / 2) / (1 / 2 + 1.44 * 2 / 3)
    assert score == each[0] == pytest.approx(expected)


def test_cider_d_of_the_very_same_words_is_ten_and_of_others_nothing():
    texts = ["a brown dog runs", "two cats sit here", "three girls are dancing"]
    alone = [[text] for text in texts]
    np.testing.assert_allclose(cider_d(texts, alone)[1], 10)
    np.testing.assert_allclose(cider_d(texts[1:] + texts[:1], alone)[1], 0)


def test_cider_d_gives_nothing_for_what_is_said_of_every_photo():
    references = [["a dog"], ["a cat"]]
    assert cider_d(["a", "a"], references)[0] == 0
    assert cider_d(["dog", "cat"], references)[0] > 0


def test_cider_d_of_a_subset_can_keep_the_frequencies_of_the_whole():
    candidates, references = some_captions(30, 3)
    whole = cider_d(candidates, references)[1]
    documents = document_frequencies(references)
    part = cider_d(candidates[:5], references[:5], documents=documents)[1]
    np.testing.assert_allclose(part, whole[:5])
    assert not np.allclose(cider_d(candidates[:5], references[:5])[1], whole[:5])


def test_punctuation_and_case_do_not_matter():
    plain = [["a dog runs in the snow"]]
    assert bleu(["A dog runs in the snow ."], plain)[0][3] == pytest.approx(1)


def test_empty_captions_score_nothing():
    references = [["a dog runs"], ["a cat"]]
    for metric in (bleu, rouge_l, cider_d):
        _, each = metric(["", ""], references)
        assert np.isfinite(each).all() and (each < 1e-6).all()


@pytest.mark.parametrize("metric", [bleu, rouge_l, cider_d])
def test_captions_and_references_must_be_as_many(metric):
    with pytest.raises(ValueError):
        metric(["a dog"], [["a dog"], ["a cat"]])
