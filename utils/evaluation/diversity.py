"""TODO"""

from collections import Counter

from utils.data.tokenizer import tokenize
from utils.evaluation.metrics import ngrams


def diversity(captions, training):
    """How many words a captioner uses, and how much of what it says is its own."""
    words, known = list(map(tokenize, captions)), {tuple(tokenize(text)) for text in training}
    pairs = sum((ngrams(each, 2) for each in words), Counter())
    return {
        "words used": len(set().union(*words)),
        "different captions": len(set(map(tuple, words))) / len(words),
        "copied from training": sum(tuple(each) in known for each in words) / len(words),
        "different pairs of words": len(pairs) / max(1, pairs.total()),
    }
