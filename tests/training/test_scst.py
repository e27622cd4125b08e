"""Training on the score: what counts as better, and that the captioner gets better by it."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.training.toy import CHANNELS, SETTINGS, toy_data
from utils.data.tokenizer import BOS_ID, EOS_ID
from utils.evaluation.metrics import References, cider_d
from utils.models.captioners import build_captioner
from utils.training.loop import make_validator, train
from utils.training.loss import masked_loss
from utils.training.scst import as_tokens, self_critical_sampler

SETTINGS = replace(SETTINGS, learning_rate=3e-3, label_smoothing=0.0, dropout=0.0, batch_size=11)


@pytest.fixture(scope="module")
def toy():
    grid, tokenizer, pairs = toy_data()
    captioner = build_captioner(CHANNELS, len(tokenizer), SETTINGS)
    return captioner, grid, tokenizer, pairs


def test_the_end_is_a_word_of_the_reward():
    assert as_tokens([[BOS_ID, 5, 6, EOS_ID, 0]]) == [["5", "6", str(EOS_ID)]]


def test_captions_count_by_how_much_they_are_better_than_the_others(toy):
    captioner, grid, tokenizer, (rows, words) = toy
    lesson = self_critical_sampler(captioner, SETTINGS, words)
    drawn, worth = tf.function(lesson)(tf.constant(grid[rows[:4]]), tf.constant(words[:4]))
    assert (
        drawn.shape == (4, 5, SETTINGS.max_length + 1) and (drawn[..., 0] == BOS_ID).numpy().all()
    )
    worth = worth.numpy().reshape(4, 5)
    np.testing.assert_allclose(worth.sum(axis=1), 0, atol=1e-5)
    # The same by strings and the public score, with the end spelt out.
    spelt = [*tokenizer.vocabulary[:EOS_ID], "stop", *tokenizer.vocabulary[EOS_ID + 1 :]]

    def text(row):
        return " ".join(spelt[number] for number in row if number and number != BOS_ID)

    people = [[text(row) for row in group] for group in words]
    known = References(people[:4], References(people))
    captions = [text(row) for row in drawn.numpy().reshape(20, -1)]
    scores = cider_d(captions, known, np.repeat(np.arange(4), 5))[1].reshape(4, 5)
    expected = [[row[one] - np.mean(np.delete(row, one)) for one in range(5)] for row in scores]
    np.testing.assert_allclose(worth, expected, atol=1e-5)


def test_a_worth_weighs_each_caption():
    logits, targets = np.random.RandomState(0).randn(2, 3, 5), np.array([[1, 2, 0], [4, 3, 1]])
    each = [float(masked_loss(logits[row, None], targets[row, None], 0.0)) for row in (0, 1)]
    both = masked_loss(logits, targets, 0.0, np.array([[2.0], [-1.0]], np.float32))
    assert float(both) == pytest.approx((2 * 2 * each[0] - 3 * each[1]) / 5, rel=1e-5)


def test_the_score_rises_by_training_on_it(toy):
    captioner, grid, tokenizer, pairs = toy
    references = [[tokenizer.decode(row) for row in group] for group in pairs[1]]
    validate = make_validator(grid, pairs[0], references, tokenizer, SETTINGS)
    train(captioner, pairs, grid, validate, replace(SETTINGS, epochs=15))
    before, lesson = validate(captioner), self_critical_sampler(captioner, SETTINGS, pairs[1])
    course = replace(SETTINGS, epochs=25, learning_rate=0.01, patience=25)
    train(captioner, pairs, grid, validate, SETTINGS, lesson=lesson, course=course)
    assert validate(captioner) > 1.5 * before
