"""Captioners that write together: the mean of their probabilities, through search and store."""

from dataclasses import replace

import numpy as np
import pytest
from tests.models.test_captioners import CHANNELS, SETTINGS, VOCABULARY, some_input, step_by_step

from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.evaluation.retrieval import sequence_log_probs
from utils.models.captioners import build_captioner
from utils.models.ensemble import Ensemble
from utils.models.serialization import from_dict, to_dict


def members(count=3, kind="attention"):
    config = [replace(SETTINGS, decoder=kind, seed=1 + number) for number in range(count)]
    return [build_captioner(CHANNELS, VOCABULARY, each) for each in config]


def shares(logits):
    """Softmax."""
    powers = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("kind", ["merge", "attention"])
def test_each_word_by_the_mean_of_the_probabilities(kind):
    three, (features, words) = members(kind=kind), some_input()
    expected = np.mean([shares(member([features, words]).numpy()) for member in three], axis=0)
    together = Ensemble(three)
    np.testing.assert_allclose(shares(together([features, words]).numpy()), expected, atol=1e-5)
    stepped, attention = step_by_step(together, features, words)
    np.testing.assert_allclose(shares(stepped), expected, atol=1e-5)
    own = [step_by_step(member, features, words)[1] for member in three]
    np.testing.assert_allclose(attention, np.mean(own, axis=0), atol=1e-6)


def test_three_times_the_same_captioner_writes_what_it_writes_alone():
    (one,), (features, _) = members(1), some_input(photos=6)
    grid = features.astype(np.float16)
    alone, same = (
        generate(captioner, grid, SETTINGS, 3, progress=False)
        for captioner in (one, Ensemble([one] * 3))
    )
    np.testing.assert_array_equal(alone.words, same.words)
    np.testing.assert_allclose(alone.log_probability, same.log_probability, rtol=1e-4)
    np.testing.assert_allclose(alone.attention, same.attention, atol=1e-5)


def test_search_and_ranking_agree_on_what_an_ensemble_finds_likely():
    together, (features, _) = Ensemble(members()), some_input(photos=3)
    grid = features.astype(np.float16)
    written = generate(together, grid, SETTINGS, 1, progress=False)
    rows = np.concatenate([np.ones((3, 1), np.int32), written.words], axis=1)
    found = sequence_log_probs(together, grid, rows, progress=False)
    np.testing.assert_allclose(np.diag(found), written.log_probability, rtol=1e-3)


def test_an_ensemble_survives_the_store():
    together, inputs = Ensemble(members()), some_input()
    data = to_dict(together)
    assert len(data["members"]) == 3
    again = from_dict(data, replace(SETTINGS, decoder="attention"))
    np.testing.assert_allclose(again(inputs), together(inputs), atol=1e-5)


def test_weights_of_another_width_are_refused_by_name():
    data = to_dict(members(1)[0])
    with pytest.raises(
        CaptionsError, match=r"captioner.pkl: .*/picture/kernel does not fit: run 03"
    ):
        from_dict(data, replace(SETTINGS, decoder="attention", units=SETTINGS.units + 1))


def test_an_artifact_without_captioners_is_refused():
    with pytest.raises(CaptionsError, match="captioner.pkl: holds no captioner: run 03_train"):
        from_dict({"weights": {}}, SETTINGS)
