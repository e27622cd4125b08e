"""The tree of beam search: what stands on its branches, and which ones are kept."""

from math import log
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from utils.plotting.diagrams import plot_beam_tree
from utils.plotting.style import BLUE, GRAY

VOCABULARY = ["<pad>", "<bos>", "<eos>", "<unk>", "a", "two", "dog", "dogs"]


def make_beam(probability, *words):
    """A beam of these words with its probability."""
    token_ids = [VOCABULARY.index(word) for word in ("<bos>", *words)]
    return SimpleNamespace(token_ids=tuple(token_ids), log_prob=log(probability))


@pytest.fixture
def steps():
    """Two steps of beam search; "a" ends after the first, and stays as it is."""
    two = make_beam(0.5, "two")
    end = make_beam(0.3, "<eos>")
    a = make_beam(0.2, "a")
    dogs = make_beam(0.4, "two", "dogs")
    dog = make_beam(0.1, "two", "dog")
    return [([two, end, a], [two, end]), ([dogs, end, dog], [dogs, end])]


@pytest.fixture
def tree(steps):
    """The tree's axes."""
    figure = plot_beam_tree(steps, steps[-1][1][0].token_ids, VOCABULARY)
    yield figure.axes[0]
    plt.close(figure)


def test_branches_have_the_probability_of_their_token(tree):
    colors = {text.get_text(): text.get_color() for text in tree.texts}
    assert {"0.50", "0.30", "0.20", "0.80"} <= colors.keys()  # 0.4 / 0.5 for "dogs"
    assert sorted(text.get_text() for text in tree.texts).count("0.20") == 2  # "a", and "dog"
    assert colors["0.80"] == BLUE
    assert colors["0.20"] == GRAY


def test_thick_line_leads_to_the_result(tree):
    thick = [line.get_xdata() for line in tree.lines if line.get_linewidth() > 2]
    assert [list(columns) for columns in thick] == [[0, 1], [1, 2]]


def test_finished_beam_is_drawn_once(tree):
    tokens = [text.get_text() for text in tree.texts]
    assert tokens.count("<eos>") == 1
    assert len(tree.lines) == 5
