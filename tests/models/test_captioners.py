"""Whole sequences and single steps must agree, whatever the decoder and the padding."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.ablation.transformer import TransformerCaptioner
from tests.models.small_captioner import CELLS, VOCAB_SIZE, build, decode_stepwise, random_inputs
from utils.config import Config
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID
from utils.models import captioners
from utils.models.captioners import (
    CAPTIONERS,
    AttentionCaptioner,
    build_captioner,
    token_frequencies,
)

DECODERS = [*CAPTIONERS, "transformer"]  # the last one is in the ablation study only


@pytest.fixture(autouse=True)
def transformer(monkeypatch):
    monkeypatch.setitem(CAPTIONERS, "transformer", TransformerCaptioner)


def scale_embeddings(captioner, factor):
    """Make the captioner's predictions depend strongly on the tokens."""
    embeddings = captioner.embedding.embeddings
    embeddings.assign(embeddings * factor)


@pytest.mark.parametrize("decoder", DECODERS)
def test_whole_sequences_and_single_steps_give_the_same_logits(decoder):
    captioner = build(decoder)
    features, token_ids = random_inputs()
    expected = captioner([features, token_ids]).numpy()
    assert expected.shape == (4, 7, VOCAB_SIZE)
    logits, _ = decode_stepwise(captioner, features, token_ids)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_half_precision_does_not_round_the_output_bias(decoder, precision):
    captioner = build(decoder, precision=precision)
    # All products are 0, so the logits are the bias, whose values half precision would round.
    captioner.output_projection.kernel.assign(captioner.output_projection.kernel * 0)
    captioner.bias.assign(np.random.RandomState(0).uniform(-9, -1, VOCAB_SIZE))
    features, token_ids = random_inputs()
    whole = captioner([features, token_ids]).numpy()
    stepwise, _ = decode_stepwise(captioner, features, token_ids)
    expected = np.broadcast_to(captioner.bias, whole.shape)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(stepwise, expected)


@pytest.mark.parametrize("decoder", DECODERS)
def test_several_sequences_of_a_photo_share_its_features(decoder):
    captioner = build(decoder)
    features, token_ids = random_inputs()
    expected = captioner([np.repeat(features[:2], 2, axis=0), token_ids])
    np.testing.assert_allclose(captioner([features[:2], token_ids]), expected, atol=1e-4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_right_padding_and_batch_size_do_not_change_logits(decoder):
    captioner = build(decoder)
    features, token_ids = random_inputs()
    expected = captioner([features, token_ids]).numpy()
    padding = np.full((4, 5), PAD_ID, np.int32)
    padded = np.concatenate([token_ids, padding], axis=1)
    np.testing.assert_allclose(captioner([features, padded])[:, :7], expected, atol=1e-4)
    first_only = captioner([features[:1], token_ids[:1]])
    np.testing.assert_allclose(first_only, expected[:1], atol=1e-4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_logits_do_not_depend_on_later_tokens(decoder):
    captioner = build(decoder)
    scale_embeddings(captioner, 25.0)
    features, token_ids = random_inputs()
    changed = token_ids.copy()
    changed[:, 4:] = 4 + (changed[:, 4:] + 3) % (VOCAB_SIZE - 4)
    before = captioner([features, token_ids])
    after = captioner([features, changed])
    np.testing.assert_allclose(before[:, :4], after[:, :4], atol=1e-4)
    assert not np.allclose(before[:, 4:], after[:, 4:], atol=1e-2)


@pytest.mark.parametrize("decoder", DECODERS)
def test_logits_depend_on_the_image_but_not_on_the_order_of_its_cells(decoder):
    captioner = build(decoder)
    features, token_ids = random_inputs()
    expected = captioner([features, token_ids]).numpy()
    assert not np.allclose(captioner([features[::-1], token_ids]), expected, atol=1e-3)
    np.testing.assert_allclose(captioner([features[:, ::-1], token_ids]), expected, atol=1e-4)


def test_attention_weights_sum_to_one():
    features, token_ids = random_inputs()
    _, weights = decode_stepwise(build("attention"), features, token_ids)
    assert weights.shape == (4, 7, CELLS)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)


def test_merge_has_no_attention_weights():
    features, token_ids = random_inputs()
    _, weights = decode_stepwise(build("merge"), features, token_ids)
    assert weights.shape == (4, 7, 0)


def test_attend_matches_a_direct_computation():
    queries, keys = np.random.RandomState(0).randn(2, 1, 3, 4)
    scores = queries[0] @ keys[0].T / np.sqrt(4)
    expected_weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    context, weights = AttentionCaptioner.attend(tf.constant(queries), tf.constant(keys))
    np.testing.assert_allclose(weights[0], expected_weights)
    np.testing.assert_allclose(context[0], expected_weights @ keys[0])


@pytest.mark.parametrize("decoder", DECODERS)
def test_output_bias_starts_at_the_log_frequencies_of_tokens(decoder):
    token_ids = np.array([[BOS_ID, 4, 4, 5, EOS_ID, PAD_ID]])
    frequencies = token_frequencies(token_ids, VOCAB_SIZE)
    assert frequencies.sum() == pytest.approx(1)
    assert (frequencies > 0).all()
    assert frequencies[4] > frequencies[5] > frequencies[BOS_ID]
    captioner = build(decoder, frequencies)
    np.testing.assert_allclose(np.exp(captioner.bias), frequencies, rtol=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
def test_building_leaves_global_random_generators_alone(decoder):
    random.seed(7)
    np.random.seed(7)
    expected = (random.getstate(), np.random.get_state()[1].tolist())
    build(decoder, seed=3)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == expected


def test_dtype_policy_is_restored_if_building_fails(monkeypatch):
    monkeypatch.setattr(captioners, "dtype_policy", lambda config: "mixed_bfloat16")
    with pytest.raises(ValueError, match="units"):
        build_captioner(3, VOCAB_SIZE, Config(decoder="merge", units=-1))
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("decoder", DECODERS)
def test_weights_depend_on_the_seed_alone(decoder):
    weights = build(decoder, seed=3).get_weights()
    same_seed = build(decoder, seed=3).get_weights()
    other_seed = build(decoder, seed=4).get_weights()
    assert all(map(np.array_equal, weights, same_seed))
    assert not all(map(np.array_equal, weights, other_seed))
