"""METEOR: nltk with and without synonyms, and METEOR 1.5 where Java is installed."""

import shutil

import nltk.corpus
import pytest
from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import meteor_score

from utils.cli.score import best_meteor
from utils.evaluation.meteor import meteor


class FakeWordNet:
    """A WordNet in which the words of `synonyms` mean the same; with None it is not installed."""

    def __init__(self, synonyms):
        self.synonyms = synonyms

    def synsets(self, word):
        if self.synonyms is None:
            raise LookupError("no WordNet")
        return [self] if word in self.synonyms else []

    def lemmas(self):
        return [Lemma(word) for word in self.synonyms]


class Lemma:
    """A word of a synset."""

    def __init__(self, word):
        self.word = word

    def name(self):
        return self.word


@pytest.fixture
def install_wordnet(monkeypatch):
    """A function that replaces WordNet by one with the given synonyms."""

    def install(synonyms):
        monkeypatch.setattr(nltk.corpus, "wordnet", FakeWordNet(synonyms))

    return install


REFERENCES = [["a dog runs", "two dogs play"], ["a child sleeps"]]


def test_meteor_matches_nltk_with_the_parameters_of_meteor_1_5(install_wordnet):
    install_wordnet(None)
    candidates = ["the dog is running", "a kid sleeps"]
    name, mean, scores = meteor(candidates, REFERENCES)
    assert name == "METEOR (nltk, no WordNet)"
    assert mean == pytest.approx(scores.mean())
    for candidate, references, value in zip(candidates, REFERENCES, scores, strict=True):
        expected = meteor_score(
            [reference.split() for reference in references],
            candidate.split(),
            stemmer=PorterStemmer(),
            wordnet=FakeWordNet(()),
            alpha=0.85,
            beta=0.2,
            gamma=0.6,
        )
        assert value == pytest.approx(expected)


def test_stems_match_and_synonyms_match_with_wordnet(install_wordnet):
    candidates = ["a dogs running", "a kid sleeps"]
    install_wordnet(None)
    _, _, same_words = meteor(["a dog runs", ""], REFERENCES)
    _, _, with_stems = meteor(candidates, REFERENCES)
    assert with_stems[0] == pytest.approx(same_words[0])

    install_wordnet(("kid", "child"))
    name, _, with_synonyms = meteor(candidates, REFERENCES)
    assert name == "METEOR (nltk, with WordNet)"
    assert with_synonyms[0] == pytest.approx(with_stems[0])
    assert with_synonyms[1] > with_stems[1]


def test_empty_captions_score_zero(install_wordnet):
    install_wordnet(None)
    assert meteor(["", "."], REFERENCES)[1] == 0


def test_meteor_without_java_is_that_of_nltk(install_wordnet, monkeypatch):
    install_wordnet(None)
    monkeypatch.setattr("utils.cli.score.shutil.which", lambda name: None)
    assert best_meteor(["a dog", "a dog"], REFERENCES)[0] == "METEOR (nltk, no WordNet)"


@pytest.mark.skipif(not shutil.which("java"), reason="METEOR 1.5 needs Java")
def test_java_meteor_keeps_the_order_and_accepts_empty_captions():
    candidates = ["a dog runs", "", "zebra"]
    name, score, per_photo = best_meteor(candidates, [*REFERENCES, ["two men talk"]])
    assert name == "METEOR 1.5"
    assert per_photo[0] == pytest.approx(1.0)
    assert list(per_photo[1:]) == [0, 0]
    assert 0 < score < 1
