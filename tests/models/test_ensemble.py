"""An ensemble averages its members' probabilities, in every way of decoding."""

import numpy as np
import pytest

from tests.models.small_captioner import CONFIG, build, decode_stepwise, random_inputs
from utils.data.tokenizer import BOS_ID
from utils.decoding.beam_search import generate
from utils.evaluation.retrieval import sequence_log_probs
from utils.models.ensemble import Ensemble


def build_members(count=3, decoder="attention"):
    return [build(decoder, seed=seed) for seed in range(1, count + 1)]


def softmax(logits):
    exponentials = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("decoder", ["merge", "attention"])
def test_probabilities_and_attention_are_the_means_of_the_members(decoder):
    members = build_members(decoder=decoder)
    ensemble = Ensemble(members)
    features, token_ids = random_inputs()
    member_probs = [softmax(member([features, token_ids]).numpy()) for member in members]
    expected = np.mean(member_probs, axis=0)
    whole = ensemble([features, token_ids]).numpy()
    np.testing.assert_allclose(softmax(whole), expected, atol=1e-5)

    stepwise, attention_weights = decode_stepwise(ensemble, features, token_ids)
    np.testing.assert_allclose(softmax(stepwise), expected, atol=1e-5)
    member_weights = [decode_stepwise(member, features, token_ids)[1] for member in members]
    np.testing.assert_allclose(attention_weights, np.mean(member_weights, axis=0), atol=1e-6)


def test_ensemble_of_identical_members_decodes_like_one_of_them():
    captioner = build("attention")
    features, _ = random_inputs(photos=6)
    grid = features.astype(np.float16)
    expected = generate(captioner, grid, CONFIG, 3, progress=False)
    output = generate(Ensemble([captioner] * 3), grid, CONFIG, 3, progress=False)
    np.testing.assert_array_equal(output.token_ids, expected.token_ids)
    np.testing.assert_allclose(output.log_probs, expected.log_probs, rtol=1e-4)
    np.testing.assert_allclose(output.attention_weights, expected.attention_weights, atol=1e-5)


def test_generated_log_probs_match_those_of_scoring():
    ensemble = Ensemble(build_members())
    features, _ = random_inputs(photos=3)
    grid = features.astype(np.float16)
    output = generate(ensemble, grid, CONFIG, 1, progress=False)
    bos = np.full((3, 1), BOS_ID, np.int32)
    sequences = np.concatenate([bos, output.token_ids], axis=1)
    log_probs = sequence_log_probs(ensemble, grid, sequences, progress=False)
    np.testing.assert_allclose(np.diag(log_probs), output.log_probs, rtol=1e-3)
