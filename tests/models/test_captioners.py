"""The two ways into a captioner must agree, whatever the kind and the padding."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.ablation.transformer import Transformer
from utils.config import Config
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID
from utils.models.captioners import (
    CAPTIONERS,
    AttentionCaptioner,
    build_captioner,
    token_frequencies,
)
from utils.models.serialization import from_dict, to_dict

CHANNELS, VOCABULARY, CELLS = 5, 12, 6
KINDS = [*CAPTIONERS, "transformer"]  # the last one is only measured, but keeps the contract
SETTINGS = Config(units=16, embedding_dim=8, max_length=9)


@pytest.fixture(autouse=True)
def transformer(monkeypatch):
    monkeypatch.setitem(CAPTIONERS, "transformer", Transformer)


def build(kind, frequencies=None, seed=1):
    config = replace(SETTINGS, decoder=kind, seed=seed)
    return build_captioner(CHANNELS, VOCABULARY, config, frequencies)


def some_input(photos=4, time=7, seed=0):
    chance = np.random.RandomState(seed)
    features = chance.randn(photos, CELLS, CHANNELS).astype(np.float32)
    words = chance.randint(4, VOCABULARY, (photos, time)).astype(np.int32)
    words[:, 0] = BOS_ID
    return features, words


def step_by_step(captioner, features, words):
    """Logits and attention of every step, by the one-word way."""
    state, logits, attention = captioner.initial_state(tf.constant(features)), [], []
    for time in range(words.shape[1]):
        answer, state, looked = captioner.decode_step(tf.constant(words[:, time]), state)
        logits.append(answer)
        attention.append(looked)
    return np.stack(logits, axis=1), np.stack(attention, axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_sentences_and_single_steps_agree(kind):
    captioner, (features, words) = build(kind), some_input()
    whole = captioner([features, words]).numpy()
    assert whole.shape == (4, 7, VOCABULARY)
    np.testing.assert_allclose(step_by_step(captioner, features, words)[0], whole, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_on_the_right_and_other_photos_change_nothing(kind):
    captioner, (features, words) = build(kind), some_input()
    whole = captioner([features, words]).numpy()
    padded = np.concatenate([words, np.full((4, 5), PAD_ID, np.int32)], axis=1)
    np.testing.assert_allclose(captioner([features, padded])[:, :7], whole, atol=1e-4)
    np.testing.assert_allclose(captioner([features[:1], words[:1]]), whole[:1], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_words_still_to_come_change_nothing(kind):
    captioner, (features, words) = build(kind), some_input()
    captioner.embed.embeddings.assign(captioner.embed.embeddings * 25.0)  # strong opinions
    other = words.copy()
    other[:, 4:] = 4 + (other[:, 4:] + 3) % (VOCABULARY - 4)
    before, after = captioner([features, words]), captioner([features, other])
    np.testing.assert_allclose(before[:, :4], after[:, :4], atol=1e-4)
    assert not np.allclose(before[:, 4:], after[:, 4:], atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_matters_and_its_order_of_cells_does_not(kind):
    captioner, (features, words) = build(kind), some_input()
    whole = captioner([features, words]).numpy()
    assert not np.allclose(captioner([features[::-1], words]), whole, atol=1e-3)
    np.testing.assert_allclose(captioner([features[:, ::-1], words]), whole, atol=1e-4)


def test_attention_is_a_share_of_each_cell_and_merge_has_none():
    features, words = some_input()
    _, attention = step_by_step(build("attention"), features, words)
    assert attention.shape == (4, 7, CELLS)
    np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-5)
    assert step_by_step(build("merge"), features, words)[1].shape == (4, 7, 0)


def test_attention_by_hand():
    queries, cells = np.random.RandomState(0).randn(2, 1, 3, 4)
    scores = np.array([[query @ cell / 2 for cell in cells[0]] for query in queries[0]])
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    looked, attention = AttentionCaptioner.attend(tf.constant(queries), tf.constant(cells))
    np.testing.assert_allclose(attention[0], shares)
    np.testing.assert_allclose(looked[0], shares @ cells[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_bias_starts_at_the_frequency_of_the_words(kind):
    words = np.array([[BOS_ID, 4, 4, 5, EOS_ID, PAD_ID]])
    frequencies = token_frequencies(words, VOCABULARY)
    assert frequencies.sum() == pytest.approx(1) and (frequencies > 0).all()
    assert frequencies[4] > frequencies[5] > frequencies[BOS_ID]
    captioner = build(kind, frequencies)
    np.testing.assert_allclose(np.exp(captioner.bias), frequencies, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_captioner_survives_the_store_and_a_new_name(kind):
    captioner, inputs = build(kind), some_input()
    data = to_dict(captioner)
    build(kind, seed=5)  # another model in between must not change the names of weights
    again = from_dict(data, replace(SETTINGS, decoder=kind))
    np.testing.assert_allclose(again(inputs), captioner(inputs), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_one_captioner(kind):
    weights = [build(kind, seed=seed).get_weights() for seed in (3, 3, 4)]
    same, other = (
        all(np.array_equal(*pair) for pair in zip(weights[0], these, strict=True))
        for these in weights[1:]
    )
    assert same and not other
