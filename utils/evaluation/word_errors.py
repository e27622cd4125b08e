"""What is wrong with a caption: content words that are wrong or missing, by category of word.

Two words have the same meaning if `word_categories.toml` lists them together, or if they differ in
the plural only. A content word is any other than `FUNCTION_WORDS`, which are English.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from utils.data.tokenizer import tokenize
from utils.evaluation.word_categories import FUNCTION_WORDS, MIN_ANNOTATORS, WORD_CATEGORIES

OTHER = "other words"
Meaning = tuple[str, str]  # category, and what all words of this meaning share

# Words that any other word of their category fits: a man is a person.
GENERAL_WORDS = ("person", "animal")
MEANINGS: dict[str, Meaning] = {}
for _category, _groups in WORD_CATEGORIES.items():
    for _group in _groups:
        for _word in _group.split():
            MEANINGS[_word] = (_category, _group)
MEANINGS["trio"] = MEANINGS["three"]
GENERAL_MEANINGS = {MEANINGS[_word] for _word in GENERAL_WORDS}


class WordErrors(NamedTuple):
    """The words of one category.

    Attributes:
        wrong: Words of the caption whose meaning no reference has.
        missing: Words whose meaning two references have, or the only one, and the caption has not.
    """

    wrong: list[str]
    missing: list[str]


def word_errors(caption: str, references: Sequence[str]) -> dict[str, WordErrors]:
    """Compare the content words of a caption with those of its references.

    Args:
        caption: The generated caption.
        references: The captions of the same photo that people have written.

    Returns:
        For each category that has errors, the words.
    """
    generated = find_meanings(caption)
    mentions: Counter[Meaning] = Counter()
    words: dict[Meaning, Counter[str]] = {}
    for reference in references:
        for meaning, word in find_meanings(reference).items():
            mentions[meaning] += 1
            words.setdefault(meaning, Counter())[word] += 1
    needed = min(MIN_ANNOTATORS, len(references))

    errors: dict[str, WordErrors] = {}
    for meaning, word in generated.items():
        known = {other for other in mentions if other[0] == meaning[0]}
        only_general = bool(known) and known <= GENERAL_MEANINGS
        if not fits(meaning, mentions) and not only_general:
            errors.setdefault(meaning[0], WordErrors([], [])).wrong.append(word)
    for meaning, count in mentions.items():
        if count >= needed and not fits(meaning, generated):
            word = words[meaning].most_common(1)[0][0]
            errors.setdefault(meaning[0], WordErrors([], [])).missing.append(word)
    return errors


def fits(meaning: Meaning, others: Collection[Meaning]) -> bool:
    """Whether a meaning is one of others, or a general word for one of them."""
    if meaning in GENERAL_MEANINGS:
        return any(category == meaning[0] for category, _ in others)
    return meaning in others


def find_meanings(text: str) -> dict[Meaning, str]:
    """The meanings of the content words of a text, each with the first word that has it."""
    meanings: dict[Meaning, str] = {}
    for token in tokenize(text):
        if token in MEANINGS:
            meanings.setdefault(MEANINGS[token], token)
        elif token not in FUNCTION_WORDS:
            meanings.setdefault((OTHER, singular(token)), token)
    return meanings


def singular(word: str) -> str:
    """An English noun without the ending of the plural."""
    if word.endswith(("ses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def describe_errors(errors: dict[str, WordErrors]) -> str:
    """The errors in one line per category, such as "animals: dog instead of cat"."""
    lines = []
    for category, (wrong, missing) in errors.items():
        if wrong and missing:
            lines.append(f"{category}: {', '.join(wrong)} instead of {', '.join(missing)}")
        elif wrong:
            lines.append(f"{category}: {', '.join(wrong)} is in no reference")
        else:
            lines.append(f"{category}: {', '.join(missing)} missing")
    return "\n".join(lines) or "no content word is wrong or missing"
