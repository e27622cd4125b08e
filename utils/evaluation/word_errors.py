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

MEANINGS: dict[str, Meaning] = {}
for _category, _groups in WORD_CATEGORIES.items():
    for _group in _groups:
        for _word in _group.split():
            MEANINGS[_word] = (_category, _group)
# General words, each with the words that it fits: a girl is a child. None: all of its category.
GENERAL_WORDS = {
    "person": None,
    "animal": None,
    "child": ("boy", "girl", "baby"),
    "bird": ("duck",),
}


class WordErrors(NamedTuple):
    """The words of one category.

    Attributes:
        wrong: Words of the caption whose meaning no reference has.
        missing: Words whose meaning two references have, or the only one, but not the caption.
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
        if not fits_one_of(meaning, mentions) and not is_kind_of_all(meaning, mentions):
            errors.setdefault(meaning[0], WordErrors([], [])).wrong.append(word)
    for meaning, count in mentions.items():
        if count >= needed and not fits_one_of(meaning, generated):
            word = words[meaning].most_common(1)[0][0]
            errors.setdefault(meaning[0], WordErrors([], [])).missing.append(word)
    return errors


def fits_one_of(meaning: Meaning, others: Collection[Meaning]) -> bool:
    """Whether a meaning is one of others, or a general word for one of them."""
    return meaning in others or any(is_kind_of(other, meaning) for other in others)


def is_kind_of_all(meaning: Meaning, others: Collection[Meaning]) -> bool:
    """Whether others of the same category exist, and all are general words for a meaning."""
    same_category = [other for other in others if other[0] == meaning[0]]
    return bool(same_category) and all(is_kind_of(meaning, other) for other in same_category)


def is_kind_of(specific: Meaning, general: Meaning) -> bool:
    """Whether the second meaning is a general word for the first one."""
    for word, kinds in GENERAL_WORDS.items():
        if general == MEANINGS[word]:
            if kinds is None:
                return specific[0] == general[0]
            return specific in [MEANINGS[kind] for kind in kinds]
    return False


def find_meanings(text: str) -> dict[Meaning, str]:
    """The meanings of the content words of a text, each with the first word that has it."""
    meanings: dict[Meaning, str] = {}
    for token in tokenize(text):
        if token in FUNCTION_WORDS:
            continue
        if token in MEANINGS:
            meanings.setdefault(MEANINGS[token], token)
        else:
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
