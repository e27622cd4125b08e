"""The loop: the loss by hand, batches by photo, a captioner that learns, the best epoch kept."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from utils.config import Config
from utils.data.tokenizer import PAD_ID, Tokenizer
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.evaluation.metrics import cider_d
from utils.models.captioners import CAPTIONERS, build_captioner
from utils.training.batching import make_training_data
from utils.training.loop import global_batch_size, make_validator, should_stop, train
from utils.training.loss import masked_loss

CAPTIONS = {
    "dog.jpg": ["a brown dog runs", "the dog runs in the snow"],
    "cat.jpg": ["a cat sleeps", "the black cat sleeps here", "a cat"],
    "girl.jpg": ["two girls dance in the rain", "girls dance"],
}
SETTINGS = Config(
    units=32,
    embedding_dim=16,
    dropout=0.0,
    label_smoothing=0.0,
    epochs=40,
    batch_size=3,
    max_length=8,
)


@pytest.fixture
def data():
    """Three photos that are easy to tell apart, and their captions."""
    grid = np.repeat(np.eye(3, dtype=np.float32)[:, None], 4, axis=1)
    texts = [text for group in CAPTIONS.values() for text in group]
    tokenizer = Tokenizer.fit(texts, min_count=1, max_length=SETTINGS.max_length)
    positions = {name: row for row, name in enumerate(CAPTIONS)}
    return grid, tokenizer, make_training_data(list(CAPTIONS), CAPTIONS, positions, tokenizer)


def build(tokenizer, config=SETTINGS):
    return build_captioner(3, len(tokenizer), config)


def test_the_loss_is_minus_log_probability_per_real_word():
    logits = np.random.RandomState(0).randn(2, 3, 5).astype(np.float32)
    targets = np.array([[1, 2, PAD_ID], [4, PAD_ID, PAD_ID]])
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    right = [shares[0, 0, 1], shares[0, 1, 2], shares[1, 0, 4]]
    loss = float(masked_loss(logits, targets, 0.0))
    assert loss == pytest.approx(-np.mean(np.log(right)), rel=1e-5)


def test_label_smoothing_is_kerass():
    logits = np.random.RandomState(0).randn(2, 3, 5).astype(np.float32)
    targets = np.array([[1, 2, 3], [4, 1, 1]])
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    expected = float(theirs(tf.one_hot(targets, 5), logits))
    assert float(masked_loss(logits, targets, 0.1)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_one_pass_costs_what_all_beginnings_cost_one_by_one(data, kind):
    grid, tokenizer, (rows, words) = data
    captioner = build(tokenizer, replace(SETTINGS, decoder=kind))
    features, sentences = grid[np.repeat(rows, 3)], words.reshape(9, -1)
    whole = masked_loss(captioner([features, sentences[:, :-1]]), sentences[:, 1:], 0.0)
    costs = []
    for photo, sentence in zip(features, sentences, strict=True):
        for time in range(1, int((sentence != PAD_ID).sum())):
            beginning = np.where(np.arange(len(sentence)) < time, sentence, PAD_ID)
            logits = captioner([photo[None], beginning[None, :-1]])[0, time - 1]
            costs.append(-float(tf.nn.log_softmax(logits)[sentence[time]]))
    assert float(whole) == pytest.approx(np.mean(costs), rel=1e-4)


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_a_captioner_learns_three_photos_by_heart(data, kind):
    grid, tokenizer, (rows, words) = data
    pairs = np.tile(rows, 10), np.tile(words, (10, 1, 1))  # ten batches an epoch
    config = replace(SETTINGS, decoder=kind, epochs=30, learning_rate=1e-2)
    captioner = build(tokenizer, config)
    epochs = iter(range(config.epochs))
    history = train(captioner, pairs, grid, lambda captioner: next(epochs), config)
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert [row["epoch"] for row in history] == list(range(1, config.epochs + 1))
    written = generate(captioner, grid, config, progress=False)
    for row, name in zip(written.words, CAPTIONS, strict=True):
        assert tokenizer.decode(row) in CAPTIONS[name]


def test_validation_scores_what_is_written_freely(data):
    grid, tokenizer, _ = data
    captioner, references = build(tokenizer), list(CAPTIONS.values())
    written = generate(captioner, grid[[2, 0]], SETTINGS, beam_width=1, progress=False)
    texts = [tokenizer.decode(row) for row in written.words]
    validate = make_validator(grid, np.array([2, 0]), references[:2], tokenizer, SETTINGS)
    assert validate(captioner) == pytest.approx(cider_d(texts, references[:2])[0])


def test_the_same_training_twice_gives_the_same_weights(data):
    grid, tokenizer, pairs = data
    config = replace(SETTINGS, epochs=2, dropout=0.3)

    def weights():
        captioner = build(tokenizer, config)
        train(captioner, pairs, grid, lambda captioner: 0.0, config)
        return captioner.get_weights()

    for first, second in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_epoch_that_writes_best_is_kept(data):
    grid, tokenizer, pairs = data
    config = replace(SETTINGS, epochs=3)
    captioner, seen = build(tokenizer), []

    def validate(captioner):
        seen.append(captioner.get_weights())
        return [1.0, 3.0, 2.0][len(seen) - 1]

    train(captioner, pairs, grid, validate, config)
    for kept, second in zip(captioner.get_weights(), seen[1], strict=True):
        np.testing.assert_array_equal(kept, second)


def test_a_loss_that_is_no_number_stops_and_says_when(data):
    grid, tokenizer, (rows, words) = data
    grid, pairs = np.repeat(grid, 2, axis=0), (np.arange(6), np.tile(words, (2, 1, 1)))
    grid[5] = np.nan
    config, seen = replace(SETTINGS, batch_size=2), []
    message = "the loss of epoch 1 is no number from batch [123] on: lower learning_rate, delete"
    with pytest.raises(CaptionsError, match=message):
        train(build(tokenizer), pairs, grid, seen.append, config)
    assert not seen


def test_a_batch_too_small_for_all_devices_names_the_setting(data):
    grid, tokenizer, pairs = data
    devices = SimpleNamespace(num_replicas_in_sync=2)
    fits = SimpleNamespace(vocabulary=len(tokenizer), channels=grid.shape[2])
    fits.distribute_strategy = devices
    assert global_batch_size(fits, pairs, grid, SETTINGS) == 2
    with pytest.raises(CaptionsError, match="batch_size=1.*2 devices.*raise it"):
        global_batch_size(fits, pairs, grid, replace(SETTINGS, batch_size=1))


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda rows, words, grid: (rows, words + 90, grid), "of 19 words.*learn word 108"),
        (lambda rows, words, grid: (rows, words, grid[..., :2]), r"features \(3, 4, 2\)"),
        (lambda rows, words, grid: (rows + 1, words, grid), "photo 3"),
    ],
)
def test_what_does_not_belong_together_is_refused(data, spoil, word):
    grid, tokenizer, pairs = data
    rows, words, grid = spoil(*pairs, grid)
    with pytest.raises(CaptionsError, match=f"{word}.*build it for these"):
        train(build(tokenizer), (rows, words), grid, lambda captioner: 0.0, SETTINGS)


def test_nothing_to_validate_on_is_refused(data):
    grid, tokenizer, _ = data
    with pytest.raises(CaptionsError, match="no photo to validate on"):
        make_validator(grid, np.array([], int), [], tokenizer, SETTINGS)


def test_features_in_memory_and_from_disk_teach_the_same(data, monkeypatch):
    grid, tokenizer, pairs = data
    config, weights = replace(SETTINGS, epochs=2, batch_size=2), []
    for fits in (True, False):
        monkeypatch.setattr("utils.training.loop.fits", lambda grid, fits=fits: fits)
        captioner = build(tokenizer, config)
        train(captioner, pairs, grid, lambda captioner: 0.0, config)
        weights.append(captioner.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_what_is_judged_and_kept_is_the_average_of_the_weights(data):
    grid, tokenizer, pairs = data
    seen, moved, begun = [], [], build(tokenizer).get_weights()
    for ema_momentum in (0.0, 0.9):  # 0 keeps nothing of earlier weights
        config = replace(SETTINGS, epochs=1, batch_size=1, ema_momentum=ema_momentum)
        captioner = build(tokenizer, config)
        judge = functools.partial(look_at, seen=seen)
        train(captioner, pairs, grid, judge, config)
        ends = zip(captioner.get_weights(), seen[-1], begun, strict=True)
        moved.append(sum(np.abs(end - begin).sum() for end, _, begin in ends))
        np.testing.assert_array_equal(captioner.get_weights()[0], seen[-1][0])
    assert 0 < moved[1] < moved[0]


def look_at(captioner, seen):
    """A validation that only remembers the weights."""
    seen.append(captioner.get_weights())
    return 0.0


@pytest.mark.parametrize(
    ("scores", "done"),
    [([], False), ([3, 1], False), ([3, 1, 2], True), ([1, 3, 2], False), ([1, 2, 3, 4], True)],
)
def test_training_stops_at_the_last_epoch_or_when_the_best_is_long_ago(scores, done):
    config = replace(SETTINGS, epochs=4, patience=2)
    assert should_stop([{"CIDEr-D": score} for score in scores], config) == done
