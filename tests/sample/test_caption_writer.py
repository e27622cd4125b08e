"""The five captions of a scene are true, varied, grammatical and reproducible."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from utils.sample.caption_writer import write_captions
from utils.sample.facts import check_facts, parse_facts
from utils.sample.scenes import FACTS, sample_scenes

SCENES = sample_scenes(3000, seed=1) + sample_scenes(300, seed=1, unseen=True)
CAPTIONED = [(scene, write_captions(scene)) for scene in SCENES]


def split_words(caption):
    return re.findall("[a-z]+", caption.lower())


def captions_where(condition):
    """All captions of the scenes that meet a condition."""
    return [caption for scene, captions in CAPTIONED if condition(scene) for caption in captions]


ALL_CAPTIONS = captions_where(lambda scene: True)


def fact_share(fact, captions):
    """The share of captions that state a fact."""
    return sum(fact in parse_facts(caption) for caption in captions) / len(captions)


def test_captions_never_contradict_their_scene():
    wrong = [
        caption
        for scene, captions in CAPTIONED
        for caption in captions
        if not all(check_facts(caption, scene).values())
    ]
    assert wrong == []


def test_caption_lengths_and_vocabulary_size():
    lengths = [len(split_words(caption)) for caption in ALL_CAPTIONS]
    assert min(lengths) >= 5
    assert max(lengths) <= 16
    vocabulary = {word for caption in ALL_CAPTIONS[:6000] for word in split_words(caption)}
    assert 150 <= len(vocabulary) <= 350


def test_five_captions_are_different_and_reproducible():
    for scene, captions in CAPTIONED:
        assert len({" ".join(split_words(caption)) for caption in captions}) == 5
        assert write_captions(scene) == captions
    scene, captions = CAPTIONED[0]
    assert write_captions(replace(scene, seed=scene.seed + 1)) != captions


def test_captions_do_not_depend_on_the_name():
    scene, captions = CAPTIONED[0]
    assert write_captions(replace(scene, name="other.jpg")) == captions


@pytest.mark.parametrize("fact", ["subject", "count", "color", "action", "thing", "place"])
def test_most_captions_state_each_fact(fact):
    captions = captions_where(lambda scene: getattr(scene, fact) != "none")
    assert fact_share(fact, captions) > 0.5
    for value in set(FACTS[fact]) - {"none"}:
        captions = captions_where(lambda scene, value=value: getattr(scene, fact) == value)
        assert fact_share(fact, captions) > 0.45


def test_sunshine_and_sides_are_stated_rarely():
    sunny = captions_where(lambda scene: scene.sky == "sunny")
    other = captions_where(lambda scene: scene.sky != "sunny")
    assert 0.02 < fact_share("sky", sunny) < 0.2
    assert 0.4 < fact_share("sky", other) < 0.6
    assert 0.01 < fact_share("side", ALL_CAPTIONS) < 0.1


def test_a_caption_states_about_five_facts():
    stated = sum(len(parse_facts(caption)) for caption in ALL_CAPTIONS)
    assert 4.5 < stated / len(ALL_CAPTIONS) < 5.5


def test_the_five_styles_differ():
    """Each has its own form, and they differ in how often they mention a color."""
    captions_by_style = zip(*(captions for _, captions in CAPTIONED), strict=True)
    full_sentence, detailed, place_first, there_is, telegraphic = captions_by_style
    assert all(caption[0].isupper() and caption.endswith(" .") for caption in full_sentence)
    assert all(re.search(r" (is|are) \w+ing", caption) for caption in detailed)
    assert all(" , " in caption and caption.endswith(".") for caption in place_first)
    assert all(caption.startswith(("There is a", "There are ")) for caption in there_is)
    assert not any(
        re.search(r"^an? (?!pair|couple|trio)| (is|are) ", caption) for caption in telegraphic
    )
    styles = (detailed, full_sentence, place_first, there_is, telegraphic)
    color_shares = [fact_share("color", captions) for captions in styles]
    assert color_shares == sorted(color_shares, reverse=True)


def test_articles_agree_with_the_next_word():
    for caption in ALL_CAPTIONS:
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", caption.lower()), caption


def test_verbs_and_nouns_agree_in_number():
    singular = "\n".join(captions_where(lambda scene: scene.count == 1)).lower()
    plural = "\n".join(captions_where(lambda scene: scene.count > 1)).lower()
    assert not re.search(r"\b(are|dresses|shirts|two|three|pair|couple|trio)\b", singular)
    assert not re.search(r"\b(is|dress|shirt)\b|\b(runs|sits|sleeps|dances|jumps)\b", plural)


def test_the_first_word_of_a_table_is_used_most():
    captions = captions_where(lambda scene: scene.subject == "dog" and scene.count == 1)
    counts = Counter(word for caption in captions for word in split_words(caption))
    assert counts["dog"] > counts["puppy"] + counts["hound"]
