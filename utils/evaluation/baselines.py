"""Baselines that a score is compared with.

A number alone says nothing. Next to the captioner stand a constant caption, which knows the
language but not the photo, and one human caption against the others.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from utils.data.tokenizer import tokenize
from utils.evaluation.metrics import References
from utils.evaluation.protocol import score_with_meteor


def constant_caption(captions: Sequence[str]) -> str:
    """The training caption that shares most words with the others: the best guess without a photo.

    Among the captions of median length it is the one whose words are in most captions.
    """
    tokenized = [tokenize(caption) for caption in captions]
    caption_counts = Counter(token for tokens in tokenized for token in set(tokens))
    lengths = sorted(len(tokens) for tokens in tokenized)
    median_length = lengths[len(lengths) // 2]
    candidates = [row for row, tokens in enumerate(tokenized) if len(tokens) == median_length]

    def commonness(row: int) -> int:
        return sum(caption_counts[token] for token in set(tokenized[row]))

    return captions[max(candidates, key=commonness)]


def human_baseline(references: Sequence[Sequence[str]]) -> dict[str, float]:
    """The scores of each photo's first, second, ... human caption against its others, averaged.

    Document frequencies come from all references, as for every other system in a table.
    """
    corpus = References(references)
    rounds = []
    for number in range(min(len(captions) for captions in references)):
        candidates = [captions[number] for captions in references]
        others = [[*captions[:number], *captions[number + 1 :]] for captions in references]
        rounds.append(score_with_meteor(candidates, References(others, corpus)))
    means = {}
    for name in rounds[0]:
        means[name] = float(np.mean([scores[name] for scores in rounds]))
    return means
