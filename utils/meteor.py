"""METEOR, which also counts stems and synonyms, by what is installed; its name says by what.

The literature prints METEOR 1.5, a Java program. nltk's, with the same parameters, knows neither
its paraphrases nor its function words: compare it with itself only.
"""

import shutil
from functools import lru_cache
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np

from utils.metrics import split


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
    pairs = zip(split(candidates), map(split, references), strict=True)
    scores = np.array([meteor_score(said, each, str, **options) for each, said in pairs])
    return name, float(scores.mean()), scores


def best_meteor(candidates, references):
    """METEOR 1.5 where Java and pycocoevalcap are installed, else nltk's."""
    if not (shutil.which("java") and find_spec("pycocoevalcap")):
        return meteor(candidates, references)
    from pycocoevalcap.meteor.meteor import Meteor

    said = {photo: list(map(" ".join, split(group))) for photo, group in enumerate(references)}
    # The program waits for ever for the words of an empty caption: it gets one that nobody says.
    found = {photo: [" ".join(words) or "qqq"] for photo, words in enumerate(split(candidates))}
    score, each = Meteor().compute_score(said, found)
    return "METEOR 1.5", score, np.array(each)
