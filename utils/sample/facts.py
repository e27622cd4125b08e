"""TODO"""

import re
import tomllib
from functools import cache
from pathlib import Path

from utils.sample.scenes import PEOPLE

ARTWORK = tomllib.loads(Path(__file__).with_name("artwork.toml").read_text(encoding="utf-8"))
WORDS = ARTWORK["words"]


def parse_facts(caption):
    """What a caption states: fact -> the set of values that it may mean.

    Words in no table are passed over. A caption that says both red and blue means no color at
    all: an empty set, which fits no scene.
    """
    stated = {}
    for word in words_in(caption):
        for fact, values in lexicon().get(word, {}).items():
            stated[fact] = stated.get(fact, values) & values
    return stated


def facts(caption, scene):
    """For each fact that a caption states, whether it is true of the scene."""
    return {fact: getattr(scene, fact) in values for fact, values in parse_facts(caption).items()}


def words_in(caption):
    """Its words in lower case, without numbers and punctuation."""
    return re.findall("[a-z]+", caption.lower())


@cache
def lexicon():
    """Every word that carries a fact: word -> fact -> the values it may mean."""
    lexicon = {}

    def add(word, fact, *values):
        lexicon.setdefault(word, {}).setdefault(fact, set()).update(values)

    for subject, nouns in WORDS["noun"].items():
        vague = "person people" if subject in PEOPLE else "animal animals"
        for noun in [*nouns.split(", "), vague]:
            singular, plural = noun.split()
            add(singular, "subject", subject)
            add(plural, "subject", subject)
            if singular != plural:
                add(singular, "count", 1)
                add(plural, "count", 2, 3)
    for action, verbs in WORDS["verb"].items():
        for form in words_in(verbs):
            add(form, "action", action)
    for table in ("count", "color", "thing", "use", "place", "path", "sky", "side"):
        fact = {"use": "thing", "path": "place"}.get(table, table)
        for value, choices in WORDS[table].items():
            for word in re.findall(r"\*(\w+)", choices):
                add(word, fact, int(value) if fact == "count" else value)
    return lexicon


def fact_accuracy(captions, scenes):
    """How much the captions state and how much of it is true, where the facts are known.

    `scenes` are the drawn scenes in the captions' order. Taught in 04_evaluate.
    """
    judged = [facts(caption, scene) for caption, scene in zip(captions, scenes, strict=True)]
    stated = sum(len(each) for each in judged)
    return {
        "facts each": stated / len(captions),
        "right": sum(sum(each.values()) for each in judged) / max(1, stated),
    }
