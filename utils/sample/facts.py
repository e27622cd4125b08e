"""Read the facts that a caption states, and check them against the scene.

The tables of words at the end of `artwork.toml` serve both ways: `caption_writer` picks words from
them, `parse_facts` looks words up in them. A word that stands for several values (sand: beach or
desert) may mean any of them.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from utils.sample.artwork import ARTWORK
from utils.sample.scenes import PEOPLE, Scene

WORDS: dict[str, dict[str, str]] = ARTWORK["words"]

# General nouns, singular and plural, that anyone may use beside those in the tables.
PERSON_NOUNS = "person people"
ANIMAL_NOUNS = "animal animals"

# Tables of words whose name is the fact that they state, and those of another name.
TABLE_FACTS = {
    "count": "count",
    "color": "color",
    "thing": "thing",
    "use": "thing",
    "place": "place",
    "path": "place",
    "sky": "sky",
    "side": "side",
}

Lexicon = dict[str, dict[str, set[Any]]]  # word -> fact -> the values that it may mean


def split_words(caption: str) -> list[str]:
    """Split a caption into words in lower case, without numbers and punctuation."""
    return re.findall("[a-z]+", caption.lower())


def parse_facts(caption: str) -> dict[str, set[Any]]:
    """Read the facts that a caption states.

    Words that are in no table are skipped. A caption that says both red and blue means no color:
    an empty set, which fits no scene.

    Returns:
        For each fact that the caption states, the set of values that it may mean.
    """
    stated: dict[str, set[Any]] = {}
    for word in split_words(caption):
        for fact, values in build_lexicon().get(word, {}).items():
            stated[fact] = stated.get(fact, values) & values
    return stated


def check_facts(caption: str, scene: Scene) -> dict[str, bool]:
    """For each fact that a caption states, tell whether it is true of the scene."""
    return {fact: getattr(scene, fact) in values for fact, values in parse_facts(caption).items()}


def fact_accuracy(captions: Sequence[str], scenes: Iterable[Scene]) -> dict[str, float]:
    """Measure how many facts captions state, and how many of these are true.

    Args:
        captions: Captions of drawn scenes.
        scenes: The scenes, in the captions' order.

    Returns:
        "facts per caption", the mean number of facts that a caption states, and "accuracy", the
        share of the stated facts that are true.
    """
    stated = 0
    correct = 0
    for caption, scene in zip(captions, scenes, strict=True):
        checked = check_facts(caption, scene)
        stated += len(checked)
        correct += sum(checked.values())
    return {
        "facts per caption": stated / len(captions),
        "accuracy": correct / max(1, stated),
    }


@cache
def build_lexicon() -> Lexicon:
    """Collect every word that states a fact."""
    lexicon: Lexicon = {}
    add_nouns(lexicon)
    for action, verbs in WORDS["verb"].items():
        for form in split_words(verbs):
            add_word(lexicon, form, "action", action)
    for table, fact in TABLE_FACTS.items():
        for value, phrases in WORDS[table].items():
            for word in re.findall(r"\*(\w+)", phrases):
                add_word(lexicon, word, fact, int(value) if fact == "count" else value)
    return lexicon


def add_nouns(lexicon: Lexicon) -> None:
    """Add the nouns of all subjects, which also state whether there are one or several."""
    for subject, nouns in WORDS["noun"].items():
        general = PERSON_NOUNS if subject in PEOPLE else ANIMAL_NOUNS
        for noun in [*nouns.split(", "), general]:
            singular, plural = noun.split()
            add_word(lexicon, singular, "subject", subject)
            add_word(lexicon, plural, "subject", subject)
            if singular != plural:
                add_word(lexicon, singular, "count", 1)
                add_word(lexicon, plural, "count", 2, 3)


def add_word(lexicon: Lexicon, word: str, fact: str, *values: Any) -> None:
    """Add values of a fact to those that a word may mean."""
    lexicon.setdefault(word, {}).setdefault(fact, set()).update(values)
