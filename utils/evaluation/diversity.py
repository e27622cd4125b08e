"""How varied generated captions are, and how many of them are copies of training captions."""

from collections import Counter
from collections.abc import Sequence

from utils.data.tokenizer import tokenize
from utils.evaluation.ngrams import ngrams


def diversity(captions: Sequence[str], training_captions: Sequence[str]) -> dict[str, float]:
    """Measures of diversity.

    Returns:
        The number of distinct tokens, the fraction of distinct captions, the fraction of captions
        that are copies of a training caption, and distinct-2, the fraction of bigrams that are
        distinct.
    """
    tokenized = [tuple(tokenize(caption)) for caption in captions]
    known = {tuple(tokenize(caption)) for caption in training_captions}
    bigrams: Counter = Counter()
    vocabulary: set[str] = set()
    for tokens in tokenized:
        bigrams.update(ngrams(tokens, 2))
        vocabulary.update(tokens)
    copies = sum(tokens in known for tokens in tokenized)
    return {
        "distinct tokens": len(vocabulary),
        "distinct captions": len(set(tokenized)) / len(tokenized),
        "copied from training": copies / len(tokenized),
        "distinct-2": len(bigrams) / max(1, bigrams.total()),
    }
