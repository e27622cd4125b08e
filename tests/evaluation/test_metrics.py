"""Metrics against nltk, pycocoevalcap, brute force, and figures worked out by hand."""

import itertools
import random
import shutil

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from utils.data.caption_files import read_captions
from utils.data.tokenizer import tokenize
from utils.evaluation import ngrams
from utils.evaluation.metrics import References, bleu, cider_d, lcs_length, rouge_l, score
from utils.paths import REPOSITORY

FLICKR8K = REPOSITORY.parent / "shared" / "flickr8k"
needs_flickr8k = pytest.mark.skipif(not FLICKR8K.is_dir(), reason=f"{FLICKR8K} is not there")

WORDS = ["a", "dog", "cat", "runs", "in", "the", "red", "snow", "with", "two"]


def some_captions(photos, seed):
    """Random candidates and five references each, from few words so that much is shared."""
    rng = random.Random(seed)

    def caption():
        return " ".join(rng.choices(WORDS, k=8))

    return [caption() for _ in range(photos)], [
        [caption() for _ in range(5)] for _ in range(photos)
    ]


def test_bleu_matches_nltk():
    candidates, references = some_captions(40, 1)
    said = [[tokenize(text) for text in group] for group in references]
    for order in range(1, 5):
        theirs = corpus_bleu(said, [tokenize(text) for text in candidates], [1 / order] * order)
        assert bleu(candidates, references)[0][order - 1] == pytest.approx(theirs, abs=1e-6)


# --- the field's toolkit -------------------------------------------------------------------------


def toolkit(candidates, references):
    """What pycocoevalcap says of lists of words: name -> (corpus, each)."""
    found = {photo: [" ".join(words)] for photo, words in enumerate(candidates)}
    said = {photo: list(map(" ".join, group)) for photo, group in enumerate(references)}
    bleus, each = Bleu(4).compute_score(said, found, verbose=0)
    scores = {f"BLEU-{order}": pair for order, pair in enumerate(zip(bleus, each, strict=True), 1)}
    scores["ROUGE-L"] = Rouge().compute_score(said, found)
    return scores | {"CIDEr-D": Cider().compute_score(said, found)}


def ours(candidates, references):
    """The same from here."""
    corpus, each = bleu(candidates, references)
    scores = {f"BLEU-{order}": (corpus[order - 1], each[:, order - 1]) for order in range(1, 5)}
    return scores | {
        "ROUGE-L": rouge_l(candidates, references),
        "CIDEr-D": cider_d(candidates, references),
    }


WORD = st.sampled_from(["a", "dog", "runs", "été", "猫", "naïve", "t-shirt", "3"]) | st.text(
    st.characters(categories=["L", "N"]), min_size=1, max_size=5
)
CAPTION = st.one_of(
    st.lists(WORD, max_size=12),
    st.lists(WORD, min_size=1, max_size=1),
    st.builds(lambda word, times: [word] * times, WORD, st.integers(1, 30)),
    st.builds(lambda words, times: words * times, st.lists(WORD, max_size=9), st.just(40)),
)


@settings(max_examples=80)
@given(st.lists(st.tuples(CAPTION, st.lists(CAPTION, min_size=1, max_size=5)), min_size=1))
def test_scores_of_random_tokens_match_pycocoevalcap(photos):
    candidates, references = (list(part) for part in zip(*photos, strict=True))
    assume(any(words for group in references for words in group))  # else the toolkit fails
    theirs, scores = toolkit(candidates, references), ours(candidates, references)
    for name, (corpus, each) in theirs.items():
        assert scores[name][0] == pytest.approx(corpus, abs=1e-6), name
        np.testing.assert_allclose(scores[name][1], each, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def validation():
    """What people said of the validation photos, in the list's order."""
    captions, _ = read_captions(FLICKR8K / "captions.txt")
    return [captions[name] for name in (FLICKR8K / "Flickr_8k.devImages.txt").read_text().split()]


@needs_flickr8k
@pytest.mark.skipif(not shutil.which("java"), reason="the PTB tokenizer needs Java")
def test_scores_of_raw_captions_match_the_ptb_tokenizer(validation):
    lines = {photo: [{"caption": text} for text in group] for photo, group in enumerate(validation)}
    groups = [[text.split() for text in group] for group in PTBTokenizer().tokenize(lines).values()]
    theirs = toolkit([group[0] for group in groups], [group[1:] for group in groups])
    scores = score([group[0] for group in validation], [group[1:] for group in validation])
    for name, (corpus, _) in theirs.items():
        assert scores[name] == pytest.approx(corpus, abs=5e-4), name


@needs_flickr8k
@pytest.mark.parametrize(
    ("hyphens", "one", "mean", "constant"),
    [  # of BLEU-1, BLEU-4, ROUGE-L, CIDEr-D; the mean is CIDEr-D's
        ("kept", [0.628, 0.212, 0.492, 0.804], 0.832, [0.426, 0.087, 0.335, 0.095]),
        ("split", [0.628, 0.212, 0.492, 0.808], 0.837, [0.426, 0.088, 0.335, 0.096]),
    ],
)
def test_human_scores_of_the_validation_split_match_published_ones(
    validation, hyphens, one, mean, constant, monkeypatch
):
    if hyphens == "split":  # as in the tokens that are often handed around
        monkeypatch.setattr(ngrams, "tokenize", lambda text: tokenize(text.replace("-", " ")))
    rounds = [
        score([group[turn] for group in validation], [g[:turn] + g[turn + 1 :] for g in validation])
        for turn in range(5)
    ]
    same = ["a man in a red shirt is standing in front of a crowd"] * len(validation)
    names = ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D")
    assert [rounds[0][name] for name in names] == pytest.approx(one, abs=6e-4)
    assert np.mean([scores["CIDEr-D"] for scores in rounds]) == pytest.approx(mean, abs=6e-4)
    scores = score(same, validation)
    assert [scores[name] for name in names] == pytest.approx(constant, abs=6e-4)


# What it says of these captions.
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
def test_scores_match_pycocoevalcap(metric, expected):
    score, each = metric(CANDIDATES, REFERENCES)
    np.testing.assert_allclose(each, expected, rtol=1e-7)
    assert score == pytest.approx(np.mean(expected))


def test_bleu_of_corpus_and_captions_matches_pycocoevalcap():
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


def test_brevity_penalty_applies_to_captions_shorter_than_the_closest_reference():
    (one, *_), _ = bleu(["a dog"], [["a dog runs", "a dog runs far away"]])
    assert one == pytest.approx(np.exp(1 - 3 / 2))


def test_lcs_length_matches_brute_force():
    rng = random.Random(2)
    for _ in range(60):
        first, second = (rng.choices("abc", k=rng.randrange(7)) for _ in range(2))
        common = [
            len(part)
            for length in range(len(first) + 1)
            for part in itertools.combinations(first, length)
            if is_subsequence(part, second)
        ]
        assert lcs_length(first, second) == max(common)


def is_subsequence(part, whole):
    """Whether the items of `part` stand in `whole` in this order."""
    rest = iter(whole)
    return all(item in rest for item in part)


def test_rouge_l_by_hand():
    # "a dog" is common: precision 2/3, recall 2/4, F with beta 1.2.
    score, each = rouge_l(["a dog sleeps"], [["a big dog runs"]])
    expected = 2.44 * (2 / 3) * (1 / 2) / (1 / 2 + 1.44 * 2 / 3)
    assert score == each[0] == pytest.approx(expected)


def test_cider_d_is_ten_for_equal_captions_and_zero_for_different_ones():
    texts = ["a brown dog runs", "two cats sit here", "three girls are dancing"]
    alone = [[text] for text in texts]
    np.testing.assert_allclose(cider_d(texts, alone)[1], 10)
    np.testing.assert_allclose(cider_d(texts[1:] + texts[:1], alone)[1], 0)


def test_cider_d_gives_no_weight_to_ngrams_of_every_photo():
    references = [["a dog"], ["a cat"]]
    assert cider_d(["a", "a"], references)[0] == 0
    assert cider_d(["dog", "cat"], references)[0] > 0


def test_cider_d_of_a_subset_can_use_document_frequencies_of_the_corpus():
    candidates, references = some_captions(30, 3)
    whole = cider_d(candidates, references)[1]
    part = cider_d(candidates[:5], References(references[:5], References(references)))[1]
    np.testing.assert_allclose(part, whole[:5])
    assert not np.allclose(cider_d(candidates[:5], references[:5])[1], whole[:5])


def test_several_candidates_per_photo_score_like_each_alone():
    candidates, references = some_captions(30, 4)
    photos = [7, 7, 2, 29, 7]
    for metric in (bleu, rouge_l, cider_d):
        several = metric(candidates[:5], References(references), photos)[1]
        for candidate, photo, scores in zip(candidates, photos, several, strict=False):
            alone = [*references]
            others = [*candidates]
            others[photo] = candidate
            np.testing.assert_allclose(metric(others, alone)[1][photo], scores)


def test_punctuation_and_case_are_ignored():
    plain = [["a dog runs in the snow"]]
    assert bleu(["A dog runs in the snow ."], plain)[0][3] == pytest.approx(1)


def test_empty_captions_score_zero():
    references = [["a dog runs"], ["a cat"]]
    for metric in (bleu, rouge_l, cider_d):
        _, each = metric(["", ""], references)
        assert np.isfinite(each).all() and (each < 1e-6).all()


@pytest.mark.parametrize("metric", [bleu, rouge_l, cider_d])
def test_different_numbers_of_captions_and_references_are_an_error(metric):
    with pytest.raises(ValueError):
        metric(["a dog"], [["a dog"], ["a cat"]])
