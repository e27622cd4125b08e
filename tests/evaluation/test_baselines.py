"""Baselines, protocol, bootstrap, diversity and word categories, worked out by hand."""

import numpy as np
import pytest

from utils.config import Config
from utils.evaluation.baselines import constant_caption, human_baseline
from utils.evaluation.bootstrap import bootstrap_scores, paired_bootstrap
from utils.evaluation.diversity import diversity
from utils.evaluation.metrics import References, cider_d, score
from utils.evaluation.protocol import protocol, score_with_meteor
from utils.evaluation.word_categories import WORD_CATEGORIES, word_category_scores
from utils.sample.caption_writer import write_captions
from utils.sample.scenes import sample_scenes

SCENES = sample_scenes(60, seed=3)
REFERENCES = [write_captions(scene) for scene in SCENES]


def test_protocol_names_split_references_and_decoding():
    line = protocol("test", "standard lists", REFERENCES, Config(beam_width=4))
    for part in (
        "test split of 60 photos",
        "standard lists",
        "5 references",
        "beam width 4",
        "sigma 6",
    ):
        assert part in line
    assert "not comparable" not in line


def test_protocol_of_own_split_is_not_comparable_and_counts_references():
    line = protocol("validation", "own split", [["a"], ["b", "c"]], Config())
    assert "validation split" in line and "own split, not comparable with the literature" in line
    assert "1 to 2 references" in line


def test_protocol_says_that_few_photos_are_too_few():
    for count, expected in ((1, "; caution: 1 photo is too few"), (99, "; caution: 99 photos are")):
        line = protocol("test", "own split", REFERENCES[:1] * count, Config())
        assert line.partition("sigma 6")[2].startswith(expected)
        assert line.endswith(": score at least 100 photos")
    assert "caution" not in protocol("test", "own split", REFERENCES[:1] * 100, Config())


def test_protocol_says_that_tokens_are_characters_where_a_script_has_no_spaces():
    line = protocol("test", "standard lists", [["犬が走る", "犬が草の上を走っている"]], Config())
    assert "a token for each character, lower case" in line


def test_constant_caption_is_a_typical_training_caption():
    captions = ["a dog runs here", "a dog sits here", "a dog runs", "zebras yawn very loudly"]
    assert constant_caption(captions) in captions[:2]


def test_human_baseline_is_the_mean_over_the_held_out_caption():
    corpus = References(REFERENCES)
    rounds = []
    for held_out in range(5):
        candidates = [captions[held_out] for captions in REFERENCES]
        others = [captions[:held_out] + captions[held_out + 1 :] for captions in REFERENCES]
        scores = score(candidates, others)
        cider_of_corpus, _ = cider_d(candidates, References(others, corpus))
        # Document frequencies of the remaining references alone would give another score.
        assert cider_of_corpus != scores["CIDEr-D"]
        scores["CIDEr-D"] = cider_of_corpus
        rounds.append(scores)
    human = human_baseline(REFERENCES)
    for name in ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D"):
        assert human[name] == pytest.approx(np.mean([scores[name] for scores in rounds]))


def test_human_baseline_exceeds_constant_caption():
    all_captions = [caption for captions in REFERENCES for caption in captions]
    constant = score([constant_caption(all_captions)] * len(SCENES), REFERENCES)
    assert human_baseline(REFERENCES)["CIDEr-D"] > 2 * constant["CIDEr-D"]


def test_score_with_meteor_names_the_implementation():
    candidates, references = candidates_and_references()
    scores = score_with_meteor(candidates, references)
    added = scores.keys() - score(candidates, references).keys()
    assert added == {name for name in scores if name.startswith("METEOR (nltk")}


def candidates_and_references():
    """The first caption of each scene, and the three after it as its references."""
    candidates = [captions[0] for captions in REFERENCES]
    references = [captions[1:4] for captions in REFERENCES]
    return candidates, references


def test_bootstrap_scores_are_those_of_resampled_photos():
    candidates, references = candidates_and_references()
    corpus = References(references)
    counts = np.random.RandomState(5).multinomial(60, np.full(60, 1 / 60), 3)
    bootstrap = bootstrap_scores(candidates, references, samples=3, seed=5)
    for sample in range(3):
        photos = np.repeat(np.arange(60), counts[sample])
        sample_candidates = [candidates[photo] for photo in photos]
        sample_references = [references[photo] for photo in photos]
        expected = score(sample_candidates, References(sample_references, corpus))
        for name, values in bootstrap.items():
            assert values[sample] == pytest.approx(expected[name]), name


def test_bootstrap_interval_matches_the_normal_approximation():
    candidates, references = candidates_and_references()
    mean, per_photo = cider_d(candidates, references)
    low, high = np.percentile(bootstrap_scores(candidates, references)["CIDEr-D"], [2.5, 97.5])
    margin = 1.96 * per_photo.std() / np.sqrt(len(per_photo))
    assert (low, high) == pytest.approx((mean - margin, mean + margin), abs=margin / 5)


def test_paired_bootstrap_finds_differences_within_overlapping_intervals():
    rng = np.random.RandomState(6)
    # Some samples have harder photos, which lowers the scores of both captioners alike.
    second = rng.normal(size=1000)
    first = second + 0.1 + 0.02 * rng.normal(size=1000)
    low, high, p_value = paired_bootstrap(first, second)
    assert 0 < low < 0.1 < high < 0.2
    assert p_value < 0.01
    assert paired_bootstrap(second, first)[2] == p_value
    assert paired_bootstrap(second, second)[2] == 1
    assert paired_bootstrap(second, rng.permutation(second))[2] > 0.5


def test_diversity_by_hand():
    captions = ["a dog runs", "a dog runs", "A cat sits."]
    training_captions = ["A dog runs .", "two men"]
    assert diversity(captions, training_captions) == {
        "distinct tokens": 5,
        "distinct captions": 2 / 3,
        "copied from training": 2 / 3,
        "distinct-2": 4 / 6,
    }


def test_word_category_scores_by_hand():
    references = [["a man and two dogs", "a guy with a dog", "a red dog"], ["a girl"]]
    table = word_category_scores(["two men with a brown cat", "a girl sits"], references)
    assert table["people"] == {"precision": 1, "recall": 1, "predicted": 2, "in references": 2}
    assert table["animals"] == {"precision": 0, "recall": 0, "predicted": 1, "in references": 1}
    assert table["numbers"] == {"precision": 1, "recall": 0, "predicted": 1, "in references": 0}
    assert table["colors"]["precision"] == 0 and table["actions"]["predicted"] == 1


def test_no_word_is_in_two_categories_or_groups():
    words = []
    for groups in WORD_CATEGORIES.values():
        for group in groups:
            words.extend(group.split())
    assert len(words) == len(set(words))
    assert set(WORD_CATEGORIES) == {"people", "animals", "colors", "numbers", "actions", "places"}
