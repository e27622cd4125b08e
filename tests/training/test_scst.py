"""Self-critical training: rewards and advantages by hand, and that the score rises."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.training.toy import CHANNELS, save_parents, toy_data
from tests.training.toy import CONFIG as TOY_CONFIG
from utils.data.tokenizer import BOS_ID, EOS_ID
from utils.evaluation.metrics import References, cider_d
from utils.models.captioners import build_captioner
from utils.training.batching import ValidationData
from utils.training.loop import Stage, train
from utils.training.loss import masked_loss
from utils.training.scst import advantage, as_tokens, idf_corpus, self_critical_sampler
from utils.training.step import make_optimizer, make_train_step
from utils.training.validation import make_validator

CONFIG = replace(TOY_CONFIG, learning_rate=3e-3, label_smoothing=0.0, dropout=0.0, batch_size=11)


@pytest.fixture(scope="module")
def toy():
    grid, tokenizer, train_data = toy_data()
    captioner = build_captioner(CHANNELS, len(tokenizer), CONFIG)
    return captioner, grid, tokenizer, train_data


def test_eos_is_a_token_of_the_reward():
    assert as_tokens([[BOS_ID, 5, 6, EOS_ID, 0]]) == [["5", "6", str(EOS_ID)]]


def test_padding_is_no_reference():
    token_ids = np.array([[[BOS_ID, 5, EOS_ID], [0, 0, 0]], [[BOS_ID, 5, EOS_ID]] * 2])
    assert idf_corpus(token_ids).words == [[["5", str(EOS_ID)]], [["5", str(EOS_ID)]] * 2]


def test_advantage_is_the_difference_to_the_mean_of_the_other_scores():
    scores = tf.constant([[1.0, 2.0, 6.0]])
    np.testing.assert_allclose(advantage(scores), [[-3.0, -1.5, 4.5]])


def test_sampled_captions_are_weighted_by_the_advantage_of_their_cider_d(toy):
    captioner, grid, tokenizer, (rows, token_ids) = toy
    sampler = tf.function(self_critical_sampler(captioner, CONFIG, token_ids))
    sampled, weights = sampler(tf.constant(grid[rows[:4]]), tf.constant(token_ids[:4]))
    assert sampled.shape == (4, 5, CONFIG.max_length + 1)
    assert (sampled[..., 0] == BOS_ID).numpy().all()
    weights = weights.numpy().reshape(4, 5)
    np.testing.assert_allclose(weights.sum(axis=1), 0, atol=1e-5)

    # The same with captions as strings, in which EOS is the word "stop".
    words = list(tokenizer.vocabulary)
    words[EOS_ID] = "stop"

    def text(sequence):
        return " ".join(words[token] for token in sequence if token and token != BOS_ID)

    captions = [[text(sequence) for sequence in group] for group in token_ids]
    references = References(captions[:4], References(captions))
    sampled_texts = [text(sequence) for sequence in sampled.numpy().reshape(20, -1)]
    scores = cider_d(sampled_texts, references, np.repeat(np.arange(4), 5))[1].reshape(4, 5)
    expected = np.zeros((4, 5))
    for sample in range(5):
        expected[:, sample] = scores[:, sample] - np.delete(scores, sample, axis=1).mean(axis=1)
    np.testing.assert_allclose(weights, expected, atol=1e-5)


def test_caption_weights_scale_the_loss_of_each_caption():
    logits = np.random.RandomState(0).randn(2, 3, 5)
    targets = np.array([[1, 2, 0], [4, 3, 1]])
    first = float(masked_loss(logits[:1], targets[:1], 0.0))
    second = float(masked_loss(logits[1:], targets[1:], 0.0))
    weights = np.array([[2.0], [-1.0]], np.float32)
    loss = float(masked_loss(logits, targets, 0.0, weights))
    assert loss == pytest.approx((2 * 2 * first - 3 * second) / 5, rel=1e-5)


def test_sampled_captions_are_scored_without_dropout_like_they_were_sampled():
    grid, tokenizer, (rows, token_ids) = toy_data()
    config = replace(CONFIG, dropout=0.5)
    captioner = build_captioner(CHANNELS, len(tokenizer), config)
    features = tf.constant(grid[rows[:4]])
    captions = token_ids[:4]
    flat_captions = captions.reshape(-1, captions.shape[-1])
    logits = captioner([features, flat_captions[:, :-1]])
    expected = float(masked_loss(logits, flat_captions[:, 1:], 0.0))

    def loss_of_a_step(sampler):
        optimizer = make_optimizer(config, steps=1)
        optimizer.build(captioner.trainable_weights)
        weights = captioner.get_weights()
        step = make_train_step(captioner, optimizer, config, caption_sampler=sampler)
        loss = float(step(features, tf.constant(captions)))
        captioner.set_weights(weights)
        return loss

    assert loss_of_a_step(lambda features, token_ids: (token_ids, 1.0)) == pytest.approx(expected)
    assert loss_of_a_step(None) != pytest.approx(expected, rel=1e-3)


def test_self_critical_training_raises_the_score(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path))
    save_parents()
    captioner, grid, tokenizer, train_data = toy
    references = []
    for captions in train_data.token_ids:
        references.append([tokenizer.decode(caption) for caption in captions])
    validate = make_validator(grid, ValidationData(train_data.rows, references, tokenizer), CONFIG)
    train(captioner, train_data, grid, validate, replace(CONFIG, epochs=15))
    before = validate(captioner).metrics["CIDEr-D"]

    config = replace(CONFIG, epochs=80, learning_rate=0.02, patience=80)
    sampler = self_critical_sampler(captioner, CONFIG, train_data.token_ids)
    stage = Stage("scst", "SCST", config, "scst_learning_rate", sampler)
    train(captioner, train_data, grid, validate, CONFIG, stage)
    assert validate(captioner).metrics["CIDEr-D"] > 1.5 * before
