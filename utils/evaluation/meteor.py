"""METEOR, which also counts stems and synonyms; its name says whether it knew these.

The literature prints METEOR 1.5, a Java program. nltk's, with the same parameters, knows neither
its paraphrases nor its function words: compare it with itself only.
"""

from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from utils.evaluation.metrics import tokenize_all


def meteor(candidates, references):
    """METEOR by nltk: `(name, mean, each photo's)`. Without WordNet it knows no synonyms."""
    from nltk.corpus import wordnet
    from nltk.stem.porter import PorterStemmer
    from nltk.translate.meteor_score import meteor_score

    try:
        name, synonyms = "METEOR (nltk, with WordNet)", wordnet.synsets
        synonyms("dog")  # looks for WordNet, unpacked or zipped
    except (LookupError, OSError):  # not there, or only in part
        name, synonyms = "METEOR (nltk, no WordNet)", lambda word: ()
    options = {"alpha": 0.85, "beta": 0.2, "gamma": 0.6}  # METEOR 1.5's for English
    # The same words come again and again.
    options["wordnet"] = SimpleNamespace(synsets=lru_cache(maxsize=None)(synonyms))
    options["stemmer"] = SimpleNamespace(stem=lru_cache(maxsize=None)(PorterStemmer().stem))
    pairs = zip(tokenize_all(candidates), map(tokenize_all, references), strict=True)
    scores = np.array([meteor_score(said, each, str, **options) for each, said in pairs])
    return name, float(scores.mean()), scores
