"""METEOR, which also counts stems and synonyms as matches.

Papers report METEOR 1.5, a Java program. The implementation of nltk, with the same parameters,
has neither its paraphrases nor its function words: compare its scores only with each other.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from utils.evaluation.ngrams import Caption, tokenize_all

# The parameters of METEOR 1.5 for English.
PARAMETERS = {"alpha": 0.85, "beta": 0.2, "gamma": 0.6}


def meteor(
    candidates: Sequence[Caption], references: Sequence[Sequence[Caption]]
) -> tuple[str, float, np.ndarray]:
    """METEOR by nltk, without synonyms where WordNet is not installed.

    Returns:
        A name that says whether synonyms were used, the mean, and the score of each photo.
    """
    from nltk.stem.porter import PorterStemmer
    from nltk.translate.meteor_score import meteor_score

    name, find_synonyms = load_synonyms()
    # nltk calls these methods; their results are cached, because words occur again and again.
    wordnet = SimpleNamespace(synsets=lru_cache(maxsize=None)(find_synonyms))
    stemmer = SimpleNamespace(stem=lru_cache(maxsize=None)(PorterStemmer().stem))
    scores = []
    for candidate, captions in zip(tokenize_all(candidates), references, strict=True):
        value = meteor_score(
            tokenize_all(captions), candidate, str, stemmer=stemmer, wordnet=wordnet, **PARAMETERS
        )
        scores.append(value)
    return name, float(np.mean(scores)), np.array(scores)


def load_synonyms() -> tuple[str, Callable[[str], Any]]:
    """METEOR's name, and a function that looks up synonyms in WordNet, or finds none."""
    from nltk.corpus import wordnet

    try:
        wordnet.synsets("dog")  # looks for WordNet, unpacked or zipped
    except (LookupError, OSError):  # missing, or incomplete
        return "METEOR (nltk, no WordNet)", lambda word: ()
    return "METEOR (nltk, with WordNet)", wordnet.synsets
