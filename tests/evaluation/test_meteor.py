"""METEOR: nltk with and without synonyms, and METEOR 1.5 where Java is installed."""

import shutil

import nltk.corpus
import pytest
from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import meteor_score

from utils.cli.score import best_meteor
from utils.evaluation.meteor import meteor


class Words:
    """Stands for WordNet: `synonyms` are pairs of words, None is no WordNet at all."""

    def __init__(self, synonyms):
        self.synonyms = synonyms

    def synsets(self, word):
        if self.synonyms is None:
            raise LookupError("no WordNet")
        return [self] if word in self.synonyms else []

    def lemmas(self):
        return [Lemma(word) for word in self.synonyms]


class Lemma:
    def __init__(self, word):
        self.word = word

    def name(self):
        return self.word


@pytest.fixture
def wordnet(monkeypatch):
    return lambda synonyms: monkeypatch.setattr(nltk.corpus, "wordnet", Words(synonyms))


REFERENCES = [["a dog runs", "two dogs play"], ["a child sleeps"]]


def test_meteor_matches_nltk_with_the_parameters_of_meteor_1_5(wordnet):
    wordnet(None)
    name, mean, each = meteor(["the dog is running", "a kid sleeps"], REFERENCES)
    assert name == "METEOR (nltk, no WordNet)" and mean == pytest.approx(each.mean())
    parameters = {"alpha": 0.85, "beta": 0.2, "gamma": 0.6, "stemmer": PorterStemmer()}
    for score, said, words in zip(each, REFERENCES, ["the dog is running", "a kid sleeps"]):  # noqa: B905
        said = [text.split() for text in said]
        assert score == pytest.approx(
            meteor_score(said, words.split(), wordnet=Words(()), **parameters)
        )


def test_stems_match_and_synonyms_match_with_wordnet(wordnet):
    wordnet(None)
    stems = meteor(["a dogs running", "a kid sleeps"], REFERENCES)[2]
    assert stems[0] == pytest.approx(meteor(["a dog runs", ""], REFERENCES)[2][0])
    wordnet(("kid", "child"))
    name, _, each = meteor(["a dogs running", "a kid sleeps"], REFERENCES)
    assert name == "METEOR (nltk, with WordNet)"
    assert each[0] == pytest.approx(stems[0]) and each[1] > stems[1]


def test_empty_captions_score_zero(wordnet):
    wordnet(None)
    assert meteor(["", "."], REFERENCES)[1] == 0


def test_meteor_without_java_is_that_of_nltk(wordnet, monkeypatch):
    wordnet(None)
    monkeypatch.setattr("utils.cli.score.shutil.which", lambda name: None)
    assert best_meteor(["a dog", "a dog"], REFERENCES)[0] == "METEOR (nltk, no WordNet)"


@pytest.mark.skipif(not shutil.which("java"), reason="METEOR 1.5 needs Java")
def test_java_meteor_keeps_the_order_and_accepts_empty_captions():
    candidates = ["a dog runs", "", "zebra"]
    name, score, each = best_meteor(candidates, [*REFERENCES, ["two men talk"]])
    assert name == "METEOR 1.5"
    assert each[0] == pytest.approx(1.0) and list(each[1:]) == [0, 0] and 0 < score < 1
