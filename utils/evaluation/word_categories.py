"""Precision and recall by category of word: people, animals, colors, numbers, actions, places."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from utils.data.tokenizer import tokenize

# category -> groups of words with one meaning, such as "dog dogs puppy"
WORD_CATEGORIES: dict[str, list[str]] = tomllib.loads(
    Path(__file__).with_name("word_categories.toml").read_text(encoding="utf-8")
)
# Words of English captions that name nothing that has a place in the image; "wearing" says no more
# than "in".
FUNCTION_WORD_LIST = """
    a an the and or of in on at to by with from for into onto over under through across along near
    next around behind between above below against front back side top it its his her their he she
    they him them who that which this there is are be being has have as while out up down off some
    other another each small little large big long young old wear wears wearing
"""
FUNCTION_WORDS = frozenset(FUNCTION_WORD_LIST.split())
MIN_ANNOTATORS = 2  # who must agree that a photo shows something


def word_category_scores(
    captions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Precision and recall for each category of words.

    A prediction is right if any reference of the photo has a word of the same meaning. What a
    caption should mention is what two references mention, or the only one.

    Returns:
        For each category "precision", "recall", and the counts "predicted" and "in references".
    """
    return {
        category: category_score(groups, captions, references)
        for category, groups in WORD_CATEGORIES.items()
    }


def category_score(
    groups: list[str], captions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Precision and recall for one category."""
    meaning_of = {word: group for group in groups for word in group.split()}
    predicted = 0
    correct = 0
    expected = 0
    recalled = 0
    for caption, photo_references in zip(captions, references, strict=True):
        prediction = meanings_in(caption, meaning_of)
        mentions: Counter = Counter()
        for reference in photo_references:
            mentions.update(meanings_in(reference, meaning_of))
        needed = min(MIN_ANNOTATORS, len(photo_references))
        agreed = {meaning for meaning, count in mentions.items() if count >= needed}
        predicted += len(prediction)
        correct += len(prediction & mentions.keys())
        expected += len(agreed)
        recalled += len(prediction & agreed)
    return {
        "precision": correct / max(1, predicted),
        "recall": recalled / max(1, expected),
        "predicted": predicted,
        "in references": expected,
    }


def meanings_in(caption: str, meaning_of: dict[str, str]) -> set[str]:
    """The meanings of one category that a caption mentions."""
    return {meaning_of[token] for token in tokenize(caption) if token in meaning_of}
