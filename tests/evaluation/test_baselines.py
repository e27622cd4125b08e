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


def test_constant_caption_is_the_most_common_training_caption():
    captions = ["a dog runs here", "a dog sits here", "a dog runs", "zebras yawn very loudly"]
    assert constant_caption(captions) in captions[:2]


def test_human_baseline_is_the_mean_over_the_held_out_caption():
    documents = References(REFERENCES)
    each = []
    for voice in range(5):
        said = [group[voice] for group in REFERENCES]
        others = [group[:voice] + group[voice + 1 :] for group in REFERENCES]
        each.append(score(said, others))
        each[-1]["CIDEr-D"] = cider_d(said, References(others, documents))[0]
        assert each[-1]["CIDEr-D"] != score(said, others)["CIDEr-D"]  # its own documents
    human = human_baseline(REFERENCES)
    for name in ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D"):
        assert human[name] == pytest.approx(np.mean([scores[name] for scores in each]))


def test_human_baseline_exceeds_constant_caption():
    constant = score([constant_caption(sum(REFERENCES, []))] * len(SCENES), REFERENCES)
    assert human_baseline(REFERENCES)["CIDEr-D"] > 2 * constant["CIDEr-D"]


def test_score_with_meteor_names_the_implementation():
    scores = score_with_meteor(*some_captions())
    assert scores.keys() - score(*some_captions()).keys() == {
        name for name in scores if name.startswith("METEOR (nltk")
    }
    given = score_with_meteor(*some_captions(), meteor=lambda *_: ("METEOR 9", 0.5, None))
    assert given["METEOR 9"] == 0.5 and given["BLEU-4"] == scores["BLEU-4"]


def some_captions(voice=0):
    return [group[voice] for group in REFERENCES], [group[1:4] for group in REFERENCES]


def test_bootstrap_scores_are_those_of_resampled_photos():
    candidates, references = some_captions()
    draws = np.random.RandomState(5).multinomial(60, np.full(60, 1 / 60), 3)
    found = bootstrap_scores(candidates, references, samples=3, seed=5)
    for draw, photos in enumerate(np.repeat(np.arange(60), times) for times in draws):
        part = [candidates[photo] for photo in photos], [references[photo] for photo in photos]
        scores = score(part[0], References(part[1], References(references)))
        for name, values in found.items():
            assert values[draw] == pytest.approx(scores[name]), name


def test_bootstrap_interval_matches_the_normal_approximation():
    candidates, references = some_captions()
    each = cider_d(candidates, references)[1]
    low, high = np.percentile(bootstrap_scores(candidates, references)["CIDEr-D"], [2.5, 97.5])
    error = 1.96 * each.std() / np.sqrt(len(each))
    assert (low, high) == pytest.approx((each.mean() - error, each.mean() + error), abs=error / 5)


def test_paired_bootstrap_finds_differences_within_overlapping_intervals():
    rng = np.random.RandomState(6)
    photos = rng.normal(size=1000)  # some draws have harder photos: for both
    first, second = photos + 0.1 + 0.02 * rng.normal(size=1000), photos
    low, high, p = paired_bootstrap(first, second)
    assert 0 < low < 0.1 < high < 0.2 and p < 0.01
    assert paired_bootstrap(second, first)[2] == p
    assert paired_bootstrap(photos, photos)[2] == 1
    assert paired_bootstrap(photos, rng.permutation(photos))[2] > 0.5


def test_diversity_by_hand():
    said = ["a dog runs", "a dog runs", "A cat sits."]
    assert diversity(said, ["A dog runs .", "two men"]) == {
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


def test_every_word_has_one_meaning_per_category():
    words = [
        word for groups in WORD_CATEGORIES.values() for group in groups for word in group.split()
    ]
    assert len(words) == len(set(words))
    assert set(WORD_CATEGORIES) == {"people", "animals", "colors", "numbers", "actions", "places"}
