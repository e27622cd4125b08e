"""TODO"""

import tomllib
from collections import Counter
from pathlib import Path

from utils.data.tokenizer import tokenize

WORD_CATEGORIES = tomllib.loads(
    Path(__file__).with_name("word_categories.toml").read_text(encoding="utf-8")
)


def word_category_scores(captions, references):
    """Precision and recall by kind of word, `{kind: {...}}`. Taught in 04_evaluate.

    Right is what anybody said of the photo; to be found is what two people said (or the only one).
    """
    table = {}
    for kind, groups in WORD_CATEGORIES.items():
        meanings = {word: group for group in groups for word in group.split()}
        right = said = found = wanted = 0
        for caption, group in zip(captions, references, strict=True):
            ours, *theirs = ({*map(meanings.get, tokenize(c))} - {None} for c in (caption, *group))
            people = Counter(meaning for each in theirs for meaning in each)
            agreed = {each for each, times in people.items() if times >= min(2, len(group))}
            right, said = right + len(ours & people.keys()), said + len(ours)
            found, wanted = found + len(ours & agreed), wanted + len(agreed)
        table[kind] = {"precision": right / max(1, said), "recall": found / max(1, wanted)}
        table[kind] |= {"said": said, "to be found": wanted}
    return table
