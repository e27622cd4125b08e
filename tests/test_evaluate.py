"""What stands beside a score: baselines that are what they say, facts that are counted right."""

import numpy as np
import pytest

from utils.evaluate import (
    constant_caption,
    one_human,
    protocol,
)
from utils.metrics import cider_d, document_frequencies, score
from utils.settings import Settings
from world.scenes import imagine
from world.voices import tell

SCENES = imagine(60, seed=3)
REFERENCES = [tell(scene) for scene in SCENES]


def test_the_protocol_line_names_split_references_and_search():
    line = protocol("test", "standard lists", REFERENCES, Settings(beam_width=4))
    for part in ("test split of 60 photos", "standard lists", "5 references", "beam 4", "sigma 6"):
        assert part in line
    assert "not comparable" not in line


def test_an_own_split_is_called_so_and_uneven_references_are_counted():
    line = protocol("validation", "own split", [["a"], ["b", "c"]], Settings())
    assert "validation split" in line and "own split, not comparable with the literature" in line
    assert "1 to 2 references" in line


def test_the_constant_caption_is_one_of_the_captions_and_an_ordinary_one():
    captions = ["a dog runs here", "a dog sits here", "a dog runs", "zebras yawn very loudly"]
    assert constant_caption(captions) in captions[:2]


def test_one_human_against_the_others_is_the_mean_over_who_is_left_out():
    each = [
        score(
            [group[voice] for group in REFERENCES],
            [group[:voice] + group[voice + 1 :] for group in REFERENCES],
        )
        for voice in range(5)
    ]
    documents = document_frequencies(REFERENCES)
    for voice, scores in enumerate(each):
        said = [group[voice] for group in REFERENCES]
        others = [group[:voice] + group[voice + 1 :] for group in REFERENCES]
        scores["CIDEr-D"] = cider_d(said, others, documents=documents)[0]
    human = one_human(REFERENCES)
    for name in ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D"):
        assert human[name] == pytest.approx(np.mean([scores[name] for scores in each]))


def test_people_agree_with_each_other_more_than_with_a_constant_caption():
    constant = score([constant_caption(sum(REFERENCES, []))] * len(SCENES), REFERENCES)
    assert one_human(REFERENCES)["CIDEr-D"] > 2 * constant["CIDEr-D"]
