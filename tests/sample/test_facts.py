"""The facts that captions state are read, in captions of any origin, and checked."""

from dataclasses import replace

import pytest

from utils.sample.caption_writer import write_captions
from utils.sample.facts import check_facts, fact_accuracy, parse_facts
from utils.sample.scenes import ANIMALS, FACTS, PEOPLE, sample_scenes

SCENES = sample_scenes(60, seed=1)

# Written by hand, so that an error in the tables of words is noticed.
SINGULAR = {1}
PLURAL = {2, 3}
CAPTIONS = {
    "A brown dog runs through the snow .": dict(
        subject={"dog"}, count=SINGULAR, color={"brown"}, action={"running"}, place={"snow"}
    ),
    "two girls in red dresses dance on the beach": dict(
        subject={"girl"}, count={2}, color={"red"}, action={"dancing"}, place={"beach"}
    ),
    "A child sleeps on the sand.": dict(
        subject={"boy", "girl"}, count=SINGULAR, action={"sleeping"}, place={"beach", "desert"}
    ),
    "THREE MEN WITH A GUITAR, IN THE RAIN!": dict(
        subject={"man"}, count={3}, thing={"guitar"}, sky={"rain"}
    ),
    "a pair of puppies leaping": dict(subject={"dog"}, count={2}, action={"jumping"}),
    "horses at night": dict(subject={"horse"}, count=PLURAL, sky={"night"}),
    "There is a person in black": dict(subject=set(PEOPLE), count=SINGULAR, color={"black"}),
    "an animal with an umbrella": dict(subject=set(ANIMALS), count=SINGULAR, thing={"umbrella"}),
    "the white sheep rests": dict(
        subject={"lamb"}, color={"white"}, action={"sitting", "sleeping"}
    ),
    "a lady waits on the left of the street": dict(
        subject={"woman"}, count=SINGULAR, action={"standing"}, place={"street"}, side={"left"}
    ),
    "kittens in the woods": dict(subject={"cat"}, count=PLURAL, place={"forest"}),
    "a duck or a lamb": dict(subject=set(), count=SINGULAR),
    "a red and blue ball": dict(color=set(), thing={"ball"}),
    "one boy and two girls": dict(subject=set(), count=set()),
    "bunny in a meadow in the evening": dict(
        subject={"rabbit"}, count=SINGULAR, place={"park"}, sky={"sunset"}
    ),
    "a kid flies a kite in the mountains": dict(
        subject={"boy", "girl"}, count=SINGULAR, thing={"kite"}, place={"mountains"}
    ),
    "over the dunes , a golden duck races": dict(
        place={"desert"}, color={"yellow"}, subject={"duck"}, count=SINGULAR, action={"running"}
    ),
    "a book and a rug": dict(thing=set()),
    "colorless green ideas sleep furiously": dict(color={"green"}, action={"sleeping"}),
    "": {},
    "12 % of nothing ...": {},
}


@pytest.mark.parametrize("caption", CAPTIONS)
def test_facts_of_handwritten_captions_are_parsed(caption):
    assert parse_facts(caption) == CAPTIONS[caption]


def test_each_stated_fact_is_checked():
    scene = replace(SCENES[0], subject="girl", count=2, color="red", thing="none", place="park")
    checked = check_facts("two kids in blue with a ball in the park", scene)
    assert checked == dict(subject=True, count=True, color=False, thing=False, place=True)
    assert check_facts("what a day", scene) == {}


def test_every_value_is_stated_and_parsed():
    """The tables have words for each value."""
    parsed = {fact: set() for fact in FACTS}
    for scene in sample_scenes(3000, seed=1):
        for caption in write_captions(scene):
            for fact, values in parse_facts(caption).items():
                if values == {getattr(scene, fact)}:
                    parsed[fact] |= values
    assert parsed == {fact: set(allowed) - {"none"} for fact, allowed in FACTS.items()}


def test_reference_captions_have_perfect_fact_accuracy():
    captions_by_style = zip(*(write_captions(scene) for scene in SCENES), strict=True)
    for captions in captions_by_style:
        stated = sum(len(parse_facts(caption)) for caption in captions)
        result = fact_accuracy(captions, SCENES)
        assert result["accuracy"] == 1
        assert result["facts per caption"] == pytest.approx(stated / len(SCENES))


def test_a_wrong_fact_lowers_the_fact_accuracy():
    scene = replace(SCENES[0], subject="dog", count=1, place="snow")
    result = fact_accuracy(["a dog in the snow", "a cat in the snow"], [scene, scene])
    assert result == {"facts per caption": 3, "accuracy": pytest.approx(5 / 6)}
