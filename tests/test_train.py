"""The loop: the loss by hand, batches by photo, a captioner that learns, the best epoch kept."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from utils.batches import training_pairs
from utils.captioners import CAPTIONERS, build_captioner
from utils.metrics import cider_d
from utils.search import write_captions
from utils.settings import CaptionsError, Settings
from utils.text import PAD, Tokenizer
from utils.train import batch_size, caption_loss, finished, train, validator

CAPTIONS = {
    "dog.jpg": ["a brown dog runs", "the dog runs in the snow"],
    "cat.jpg": ["a cat sleeps", "the black cat sleeps here", "a cat"],
    "girl.jpg": ["two girls dance in the rain", "girls dance"],
}
SETTINGS = Settings(
    units=32, embedding=16, dropout=0.0, smoothing=0.0, epochs=40, batch_photos=3, max_words=8
)


@pytest.fixture
def data():
    """Three photos that are easy to tell apart, and their captions."""
    grid = np.repeat(np.eye(3, dtype=np.float32)[:, None], 4, axis=1)
    texts = [text for group in CAPTIONS.values() for text in group]
    tokenizer = Tokenizer.fit(texts, min_count=1, max_words=SETTINGS.max_words)
    positions = {name: row for row, name in enumerate(CAPTIONS)}
    return grid, tokenizer, training_pairs(list(CAPTIONS), CAPTIONS, positions, tokenizer)


def build(tokenizer, settings=SETTINGS):
    return build_captioner(3, len(tokenizer), settings)


def test_the_loss_is_minus_log_probability_per_real_word():
    logits = np.random.RandomState(0).randn(2, 3, 5).astype(np.float32)
    targets = np.array([[1, 2, PAD], [4, PAD, PAD]])
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    right = [shares[0, 0, 1], shares[0, 1, 2], shares[1, 0, 4]]
    loss = float(caption_loss(logits, targets, 0.0))
    assert loss == pytest.approx(-np.mean(np.log(right)), rel=1e-5)


def test_label_smoothing_is_kerass():
    logits = np.random.RandomState(0).randn(2, 3, 5).astype(np.float32)
    targets = np.array([[1, 2, 3], [4, 1, 1]])
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    expected = float(theirs(tf.one_hot(targets, 5), logits))
    assert float(caption_loss(logits, targets, 0.1)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_one_pass_costs_what_all_beginnings_cost_one_by_one(data, kind):
    grid, tokenizer, (rows, words) = data
    captioner = build(tokenizer, replace(SETTINGS, captioner=kind))
    features, sentences = grid[np.repeat(rows, 3)], words.reshape(9, -1)
    whole = caption_loss(captioner([features, sentences[:, :-1]]), sentences[:, 1:], 0.0)
    costs = []
    for photo, sentence in zip(features, sentences, strict=True):
        for time in range(1, int((sentence != PAD).sum())):
            beginning = np.where(np.arange(len(sentence)) < time, sentence, PAD)
            logits = captioner([photo[None], beginning[None, :-1]])[0, time - 1]
            costs.append(-float(tf.nn.log_softmax(logits)[sentence[time]]))
    assert float(whole) == pytest.approx(np.mean(costs), rel=1e-4)


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_a_captioner_learns_three_photos_by_heart(data, kind):
    grid, tokenizer, (rows, words) = data
    pairs = np.tile(rows, 10), np.tile(words, (10, 1, 1))  # ten batches an epoch
    settings = replace(SETTINGS, captioner=kind, epochs=30, learning_rate=1e-2)
    captioner = build(tokenizer, settings)
    epochs = iter(range(settings.epochs))
    history = train(captioner, pairs, grid, lambda captioner: next(epochs), settings)
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert [row["epoch"] for row in history] == list(range(1, settings.epochs + 1))
    written = write_captions(captioner, grid, settings, progress=False)
    for row, name in zip(written.words, CAPTIONS, strict=True):
        assert tokenizer.decode(row) in CAPTIONS[name]


def test_validation_scores_what_is_written_freely(data):
    grid, tokenizer, _ = data
    captioner, references = build(tokenizer), list(CAPTIONS.values())
    written = write_captions(captioner, grid[[2, 0]], SETTINGS, beam_width=1, progress=False)
    texts = [tokenizer.decode(row) for row in written.words]
    validate = validator(grid, np.array([2, 0]), references[:2], tokenizer, SETTINGS)
    assert validate(captioner) == pytest.approx(cider_d(texts, references[:2])[0])


def test_the_same_training_twice_gives_the_same_weights(data):
    grid, tokenizer, pairs = data
    settings = replace(SETTINGS, epochs=2, dropout=0.3)

    def weights():
        captioner = build(tokenizer, settings)
        train(captioner, pairs, grid, lambda captioner: 0.0, settings)
        return captioner.get_weights()

    for first, second in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_epoch_that_writes_best_is_kept(data):
    grid, tokenizer, pairs = data
    settings = replace(SETTINGS, epochs=3)
    captioner, seen = build(tokenizer), []

    def validate(captioner):
        seen.append(captioner.get_weights())
        return [1.0, 3.0, 2.0][len(seen) - 1]

    train(captioner, pairs, grid, validate, settings)
    for kept, second in zip(captioner.get_weights(), seen[1], strict=True):
        np.testing.assert_array_equal(kept, second)


def test_a_loss_that_is_no_number_stops_and_says_when(data):
    grid, tokenizer, (rows, words) = data
    grid, pairs = np.repeat(grid, 2, axis=0), (np.arange(6), np.tile(words, (2, 1, 1)))
    grid[5] = np.nan
    settings, seen = replace(SETTINGS, batch_photos=2), []
    message = "the loss of epoch 1 is no number from batch [123] on: lower learning_rate, delete"
    with pytest.raises(CaptionsError, match=message):
        train(build(tokenizer), pairs, grid, seen.append, settings)
    assert not seen


def test_a_batch_too_small_for_all_devices_names_the_setting(data):
    grid, tokenizer, pairs = data
    devices = SimpleNamespace(num_replicas_in_sync=2)
    fits = SimpleNamespace(vocabulary=len(tokenizer), channels=grid.shape[2])
    fits.distribute_strategy = devices
    assert batch_size(fits, pairs, grid, SETTINGS) == 2
    with pytest.raises(CaptionsError, match="batch_photos=1.*2 devices.*raise it"):
        batch_size(fits, pairs, grid, replace(SETTINGS, batch_photos=1))


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
        validator(grid, np.array([], int), [], tokenizer, SETTINGS)


def test_features_in_memory_and_from_disk_teach_the_same(data, monkeypatch):
    grid, tokenizer, pairs = data
    settings, weights = replace(SETTINGS, epochs=2, batch_photos=2), []
    for fits in (True, False):
        monkeypatch.setattr("utils.train.fits", lambda grid, fits=fits: fits)
        captioner = build(tokenizer, settings)
        train(captioner, pairs, grid, lambda captioner: 0.0, settings)
        weights.append(captioner.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_what_is_judged_and_kept_is_the_average_of_the_weights(data):
    grid, tokenizer, pairs = data
    seen, moved, begun = [], [], build(tokenizer).get_weights()
    for averaging in (0.0, 0.9):  # 0 keeps nothing of earlier weights
        settings = replace(SETTINGS, epochs=1, batch_photos=1, averaging=averaging)
        captioner = build(tokenizer, settings)
        judge = functools.partial(look_at, seen=seen)
        train(captioner, pairs, grid, judge, settings)
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
    settings = replace(SETTINGS, epochs=4, patience=2)
    assert finished([{"CIDEr-D": score} for score in scores], settings) == done
