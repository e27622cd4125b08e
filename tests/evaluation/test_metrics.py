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


def random_captions(photos, seed):
    """A random candidate and five references per photo, from few words so that many are shared."""
    rng = random.Random(seed)

    def random_caption():
        return " ".join(rng.choices(WORDS, k=8))

    candidates = [random_caption() for _ in range(photos)]
    references = []
    for _ in range(photos):
        references.append([random_caption() for _ in range(5)])
    return candidates, references


def hold_out(references, number):
    """One human caption per photo as the candidate, and the others as its references."""
    candidates = [captions[number] for captions in references]
    others = [captions[:number] + captions[number + 1 :] for captions in references]
    return candidates, others


def test_bleu_matches_nltk():
    candidates, references = random_captions(40, 1)
    scores, _ = bleu(candidates, references)
    candidate_tokens = [tokenize(caption) for caption in candidates]
    reference_tokens = []
    for captions in references:
        reference_tokens.append([tokenize(caption) for caption in captions])
    for order in range(1, 5):
        weights = [1 / order] * order
        expected = corpus_bleu(reference_tokens, candidate_tokens, weights)
        assert scores[order - 1] == pytest.approx(expected, abs=1e-6)


# === pycocoevalcap ===


def pycocoevalcap_scores(candidates, references):
    """The scores of lists of tokens by pycocoevalcap: name -> (corpus, per candidate)."""
    candidates_by_photo = {}
    references_by_photo = {}
    for photo, (tokens, photo_references) in enumerate(zip(candidates, references, strict=True)):
        candidates_by_photo[photo] = [" ".join(tokens)]
        references_by_photo[photo] = [" ".join(reference) for reference in photo_references]
    corpus_bleus, candidate_bleus = Bleu(4).compute_score(
        references_by_photo, candidates_by_photo, verbose=0
    )
    scores = {}
    for order in range(1, 5):
        scores[f"BLEU-{order}"] = (corpus_bleus[order - 1], candidate_bleus[order - 1])
    scores["ROUGE-L"] = Rouge().compute_score(references_by_photo, candidates_by_photo)
    scores["CIDEr-D"] = Cider().compute_score(references_by_photo, candidates_by_photo)
    return scores


def numpy_scores(candidates, references):
    """The scores of lists of tokens by `metrics`: name -> (corpus, per candidate)."""
    corpus_bleus, candidate_bleus = bleu(candidates, references)
    scores = {}
    for order in range(1, 5):
        scores[f"BLEU-{order}"] = (corpus_bleus[order - 1], candidate_bleus[:, order - 1])
    scores["ROUGE-L"] = rouge_l(candidates, references)
    scores["CIDEr-D"] = cider_d(candidates, references)
    return scores


TOKEN = st.sampled_from(["a", "dog", "runs", "été", "猫", "naïve", "t-shirt", "3"]) | st.text(
    st.characters(categories=["L", "N"]), min_size=1, max_size=5
)
CAPTION = st.one_of(
    st.lists(TOKEN, max_size=12),
    st.lists(TOKEN, min_size=1, max_size=1),
    st.builds(lambda token, times: [token] * times, TOKEN, st.integers(1, 30)),
    st.builds(lambda tokens, times: tokens * times, st.lists(TOKEN, max_size=9), st.just(40)),
)
PHOTO = st.tuples(CAPTION, st.lists(CAPTION, min_size=1, max_size=5))


@settings(max_examples=80)
@given(st.lists(PHOTO, min_size=1))
def test_scores_of_random_tokens_match_pycocoevalcap(photos):
    candidates = [candidate for candidate, _ in photos]
    references = [captions for _, captions in photos]
    # pycocoevalcap fails where all references are empty.
    assume(any(any(captions) for captions in references))
    expected = pycocoevalcap_scores(candidates, references)
    scores = numpy_scores(candidates, references)
    for name, (expected_corpus, expected_per_candidate) in expected.items():
        corpus, per_candidate = scores[name]
        assert corpus == pytest.approx(expected_corpus, abs=1e-6), name
        np.testing.assert_allclose(per_candidate, expected_per_candidate, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def validation():
    """The references of Flickr8k's validation photos, in the order of its list."""
    captions, _ = read_captions(FLICKR8K / "captions.txt")
    names = (FLICKR8K / "Flickr_8k.devImages.txt").read_text().split()
    return [captions[name] for name in names]


@needs_flickr8k
@pytest.mark.skipif(not shutil.which("java"), reason="the PTB tokenizer needs Java")
def test_scores_of_raw_captions_match_the_ptb_tokenizer(validation):
    records = {}
    for photo, captions in enumerate(validation):
        records[photo] = [{"caption": caption} for caption in captions]
    ptb_tokens = []
    for captions in PTBTokenizer().tokenize(records).values():
        ptb_tokens.append([caption.split() for caption in captions])
    expected = pycocoevalcap_scores(*hold_out(ptb_tokens, 0))
    scores = score(*hold_out(validation, 0))
    for name, (corpus, _) in expected.items():
        assert scores[name] == pytest.approx(corpus, abs=5e-4), name


@needs_flickr8k
@pytest.mark.parametrize(
    ("hyphens", "first_human", "mean_cider", "constant"),
    [  # BLEU-1, BLEU-4, ROUGE-L and CIDEr-D of the first human and of a constant caption
        ("kept", [0.628, 0.212, 0.492, 0.804], 0.832, [0.426, 0.087, 0.335, 0.095]),
        ("split", [0.628, 0.212, 0.492, 0.808], 0.837, [0.426, 0.088, 0.335, 0.096]),
    ],
)
def test_human_scores_of_the_validation_split_match_published_ones(
    validation, hyphens, first_human, mean_cider, constant, monkeypatch
):
    if hyphens == "split":  # as in the tokenized captions that are often distributed
        monkeypatch.setattr(ngrams, "tokenize", lambda text: tokenize(text.replace("-", " ")))
    names = ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D")
    rounds = [score(*hold_out(validation, number)) for number in range(5)]
    assert [rounds[0][name] for name in names] == pytest.approx(first_human, abs=6e-4)
    ciders = [scores["CIDEr-D"] for scores in rounds]
    assert np.mean(ciders) == pytest.approx(mean_cider, abs=6e-4)

    caption = "a man in a red shirt is standing in front of a crowd"
    scores = score([caption] * len(validation), validation)
    assert [scores[name] for name in names] == pytest.approx(constant, abs=6e-4)


# Captions whose scores by pycocoevalcap are written down below.
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
    ["a cat sits on a wall", "the cat is sitting", "a gray cat"],
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
    corpus, per_candidate = metric(CANDIDATES, REFERENCES)
    np.testing.assert_allclose(per_candidate, expected, rtol=1e-7)
    assert corpus == pytest.approx(np.mean(expected))


def test_bleu_of_corpus_and_captions_matches_pycocoevalcap():
    corpus, per_candidate = bleu(CANDIDATES, REFERENCES)
    np.testing.assert_allclose(corpus, [0.95652174, 0.89749206, 0.75454762, 0.61515517], rtol=1e-7)
    by_order = [
        [1.0, 1.0, 0.8, 0.367879],
        [1.0, 0.942809, 0.632456, 0.367879],
        [0.793701, 0.87358, 5e-06, 0.003679],
        [0.000114, 0.785629, 0.0, 0.000368],
    ]
    np.testing.assert_allclose(per_candidate.T, by_order, atol=1e-6)


def test_bleu_by_hand():
    # 3 of 4 unigrams match (the second "a" is clipped), and 1 of 3 bigrams. The lengths 5 and 3 are
    # equally close to 4; the shorter one counts, so that there is no brevity penalty.
    references = ["the dog runs a lot", "the dog runs a lot", "dog runs now"]
    scores, _ = bleu(["a a dog runs"], [references])
    assert scores[0] == pytest.approx(3 / 4)
    assert scores[1] == pytest.approx(np.sqrt(3 / 4 * 1 / 3))


def test_brevity_penalty_applies_to_captions_shorter_than_the_closest_reference():
    scores, _ = bleu(["a dog"], [["a dog runs", "a dog runs far away"]])
    assert scores[0] == pytest.approx(np.exp(1 - 3 / 2))


def test_lcs_length_matches_brute_force():
    rng = random.Random(2)
    for _ in range(60):
        first = rng.choices("abc", k=rng.randrange(7))
        second = rng.choices("abc", k=rng.randrange(7))
        assert lcs_length(first, second) == brute_force_lcs_length(first, second)


def brute_force_lcs_length(first, second):
    """The length of the longest common subsequence, by trying every subsequence of `first`."""
    longest = 0
    for length in range(len(first) + 1):
        for tokens in itertools.combinations(first, length):
            if is_subsequence(tokens, second):
                longest = length
    return longest


def is_subsequence(tokens, sequence):
    """Whether `sequence` has all `tokens` in their order."""
    remaining = iter(sequence)
    return all(token in remaining for token in tokens)  # `in` advances the iterator


def test_rouge_l_by_hand():
    # "a dog" is common: precision 2/3, recall 2/4, F with beta 1.2.
    corpus, per_candidate = rouge_l(["a dog sleeps"], [["a big dog runs"]])
    expected = 2.44 * (2 / 3) * (1 / 2) / (1 / 2 + 1.44 * 2 / 3)
    assert corpus == pytest.approx(expected)
    assert corpus == per_candidate[0]


def test_cider_d_is_ten_for_equal_captions_and_zero_for_different_ones():
    captions = ["a brown dog runs", "two cats sit here", "three girls are dancing"]
    references = [[caption] for caption in captions]
    shifted = captions[1:] + captions[:1]
    np.testing.assert_allclose(cider_d(captions, references)[1], 10)
    np.testing.assert_allclose(cider_d(shifted, references)[1], 0)


def test_cider_d_gives_no_weight_to_ngrams_of_every_photo():
    references = [["a dog"], ["a cat"]]
    assert cider_d(["a", "a"], references)[0] == 0
    assert cider_d(["dog", "cat"], references)[0] > 0


def test_cider_d_of_a_subset_can_use_document_frequencies_of_the_corpus():
    candidates, references = random_captions(30, 3)
    corpus = References(references)
    _, whole = cider_d(candidates, references)
    _, subset = cider_d(candidates[:5], References(references[:5], corpus))
    np.testing.assert_allclose(subset, whole[:5])
    _, own_frequencies = cider_d(candidates[:5], references[:5])
    assert not np.allclose(own_frequencies, whole[:5])


@pytest.mark.parametrize("metric", [bleu, rouge_l, cider_d])
def test_several_candidates_per_photo_score_like_one_alone(metric):
    candidates, references = random_captions(30, 4)
    photos = [7, 7, 2, 29, 7]
    _, scores = metric(candidates[:5], References(references), photos)
    for candidate, photo, value in zip(candidates[:5], photos, scores, strict=True):
        one_per_photo = [*candidates]
        one_per_photo[photo] = candidate
        _, expected = metric(one_per_photo, references)
        np.testing.assert_allclose(expected[photo], value)


def test_punctuation_and_case_are_ignored():
    scores, _ = bleu(["A dog runs in the snow ."], [["a dog runs in the snow"]])
    assert scores[3] == pytest.approx(1)


@pytest.mark.parametrize("metric", [bleu, rouge_l, cider_d])
def test_empty_captions_score_zero(metric):
    _, scores = metric(["", ""], [["a dog runs"], ["a cat"]])
    assert np.isfinite(scores).all()
    assert (scores < 1e-6).all()


@pytest.mark.parametrize("metric", [bleu, rouge_l, cider_d])
def test_different_numbers_of_captions_and_references_are_an_error(metric):
    with pytest.raises(ValueError, match="1 candidates for 2 photos"):
        metric(["a dog"], [["a dog"], ["a cat"]])
