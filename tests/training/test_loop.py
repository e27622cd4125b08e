"""The loss by hand, a captioner that overfits, the best epoch kept, early stopping, errors."""

import gc
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from tests.training.toy import constant_score
from utils.config import Config
from utils.data.tokenizer import PAD_ID, Tokenizer
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.evaluation.metrics import cider_d
from utils.models.captioners import CAPTIONERS, build_captioner
from utils.training.batching import TrainData, ValidationData, make_training_data
from utils.training.checkpoint import Progress, best_epoch
from utils.training.loop import (
    Stage,
    check_shapes,
    global_batch_size,
    should_stop,
    train,
    train_epoch,
)
from utils.training.loss import masked_loss
from utils.training.stages import build_stages
from utils.training.step import make_optimizer, make_train_step
from utils.training.validation import ValidationResult, make_validator

CAPTIONS = {
    "dog.jpg": ["a brown dog runs", "the dog runs in the snow"],
    "cat.jpg": ["a cat sleeps", "the black cat sleeps here", "a cat"],
    "girl.jpg": ["two girls dance in the rain", "girls dance"],
}
CHANNELS = 3
CONFIG = Config(
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
    """Three photos with orthogonal features, and their captions: grid, tokenizer, train data."""
    grid = np.repeat(np.eye(CHANNELS, dtype=np.float32)[:, None], 4, axis=1)
    texts = [text for group in CAPTIONS.values() for text in group]
    tokenizer = Tokenizer.fit(texts, min_count=1, max_length=CONFIG.max_length)
    positions = {name: row for row, name in enumerate(CAPTIONS)}
    return grid, tokenizer, make_training_data(list(CAPTIONS), CAPTIONS, positions, tokenizer)


@pytest.fixture
def eager():
    """Functions run without being compiled, which is faster for a few training steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def build(tokenizer, config=CONFIG):
    return build_captioner(CHANNELS, len(tokenizer), config)


def score_of(cider):
    """The result of a validation without captions."""
    return ValidationResult({"CIDEr-D": cider}, [])


# === Loss and optimizer ===


def test_masked_loss_is_the_mean_negative_log_probability_of_real_tokens():
    logits = np.random.RandomState(0).randn(2, 3, 5).astype(np.float32)
    targets = np.array([[1, 2, PAD_ID], [4, PAD_ID, PAD_ID]])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    target_probabilities = [
        probabilities[0, 0, 1],
        probabilities[0, 1, 2],
        probabilities[1, 0, 4],
    ]
    loss = float(masked_loss(logits, targets, label_smoothing=0.0))
    assert loss == pytest.approx(-np.mean(np.log(target_probabilities)), rel=1e-5)


def test_label_smoothing_equals_that_of_keras():
    logits = np.random.RandomState(0).randn(2, 3, 5).astype(np.float32)
    targets = np.array([[1, 2, 3], [4, 1, 1]])
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    expected = float(keras_loss(tf.one_hot(targets, 5), logits))
    assert float(masked_loss(logits, targets, 0.1)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("decoder", CAPTIONERS)
def test_teacher_forcing_gives_the_loss_of_all_prefixes_one_by_one(data, decoder):
    grid, tokenizer, (rows, token_ids) = data
    captioner = build(tokenizer, replace(CONFIG, decoder=decoder))
    features = grid[np.repeat(rows, token_ids.shape[1])]
    captions = token_ids.reshape(len(features), -1)
    loss = masked_loss(captioner([features, captions[:, :-1]]), captions[:, 1:], 0.0)
    losses = []
    for photo, caption in zip(features, captions, strict=True):
        for time in range(1, np.count_nonzero(caption)):
            prefix = np.where(np.arange(len(caption)) < time, caption, PAD_ID)
            logits = captioner([photo[None], prefix[None, :-1]])[0, time - 1]
            losses.append(-float(tf.nn.log_softmax(logits)[caption[time]]))
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-4)


def test_learning_rate_rises_during_warm_up_and_decays_to_zero():
    optimizer = make_optimizer(replace(CONFIG, learning_rate=0.01, warmup_fraction=0.2), steps=50)
    schedule = optimizer._learning_rate
    rates = [float(schedule(step)) for step in range(51)]
    assert rates[0] == pytest.approx(0.001)
    assert int(np.argmax(rates)) == 10
    assert rates[10] == pytest.approx(0.01)
    assert rates[50] == pytest.approx(0.0, abs=1e-9)


# === Training ===


@pytest.mark.parametrize("decoder", CAPTIONERS)
def test_a_captioner_overfits_three_photos(data, decoder):
    grid, tokenizer, (rows, token_ids) = data
    train_data = TrainData(np.tile(rows, 10), np.tile(token_ids, (10, 1, 1)))  # 10 batches an epoch
    config = replace(CONFIG, decoder=decoder, epochs=30, learning_rate=1e-2)
    captioner = build(tokenizer, config)
    epochs = iter(range(config.epochs))
    history = train(captioner, train_data, grid, lambda captioner: score_of(next(epochs)), config)
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert [row["epoch"] for row in history] == list(range(1, config.epochs + 1))
    output = generate(captioner, grid, config, progress=False)
    for captions, caption in zip(CAPTIONS.values(), output.token_ids, strict=True):
        assert tokenizer.decode(caption) in captions


def test_validation_scores_captions_of_greedy_search(data):
    grid, tokenizer, _ = data
    captioner = build(tokenizer)
    references = list(CAPTIONS.values())[:2]
    output = generate(captioner, grid[[2, 0]], CONFIG, beam_width=1, progress=False)
    captions = [tokenizer.decode(token_ids) for token_ids in output.token_ids]
    validate = make_validator(grid, ValidationData(np.array([2, 0]), references, tokenizer), CONFIG)
    result = validate(captioner)
    assert result.captions == captions
    assert result.metrics["CIDEr-D"] == pytest.approx(cider_d(captions, references)[0])


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_validation_loss_is_the_mean_over_all_reference_tokens(data, batch_size):
    grid, tokenizer, _ = data
    captioner = build(tokenizer, replace(CONFIG, dropout=0.5))  # validation has no dropout
    losses = []
    for features, texts in zip(grid, CAPTIONS.values(), strict=True):
        for caption in tokenizer.encode(texts):
            logits = captioner([features[None], caption[None, :-1]])[0]
            for log_probs, target in zip(tf.nn.log_softmax(logits), caption[1:], strict=True):
                if target != PAD_ID:
                    losses.append(-float(log_probs[target]))
    validation_data = ValidationData(np.arange(3), list(CAPTIONS.values()), tokenizer)
    config = replace(CONFIG, batch_size=batch_size, label_smoothing=0.3)
    metrics = make_validator(grid, validation_data, config)(captioner).metrics
    assert metrics["val_loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_each_epoch_is_reported_with_its_metrics_and_captions(data, eager, monkeypatch, tmp_path):
    grid, tokenizer, train_data = data
    monkeypatch.setattr("utils.training.loop.save_checkpoint", lambda *_: None)
    references = list(CAPTIONS.values())
    validate = make_validator(grid, ValidationData(np.arange(3), references, tokenizer), CONFIG)
    config = replace(CONFIG, epochs=2, working=str(tmp_path))
    reported = []

    def on_epoch(row, captions):
        reported.append((row, captions))

    stage = Stage("train", "attention", config, on_epoch=on_epoch)
    captioner = build(tokenizer, config)
    history = train(captioner, train_data, grid, validate, config, stage)
    assert [row for row, _ in reported] == history
    assert [list(row) for row in history] == [["epoch", "loss", "val_loss", "CIDEr-D"]] * 2
    best = max(reversed(reported), key=lambda report: report[0]["CIDEr-D"])
    assert validate(captioner).captions == best[1]


def test_without_a_callback_the_metrics_are_written_to_stderr(data, eager, capsys):
    grid, tokenizer, train_data = data
    train(build(tokenizer), train_data, grid, constant_score, replace(CONFIG, epochs=1))
    output = capsys.readouterr()
    assert output.out == ""
    assert "epoch   1  loss " in output.err and "  CIDEr-D 0.000\n" in output.err


def test_training_twice_gives_the_same_weights(data):
    grid, tokenizer, train_data = data
    config = replace(CONFIG, epochs=2, dropout=0.3)

    def trained_weights():
        captioner = build(tokenizer, config)
        train(captioner, train_data, grid, constant_score, config)
        return captioner.get_weights()

    for first, second in zip(trained_weights(), trained_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_finished_training_leaves_no_graph_and_no_variable_in_memory(data):
    grid, tokenizer, train_data = data

    def captured_variables():
        """How many variables the graphs of training steps that still exist refer to."""
        gc.collect()
        graphs = [each for each in gc.get_objects() if type(each) is FuncGraph]
        # So TensorFlow names the graph of a `partial`, which `compile_graph` makes of the step.
        return sum(len(graph.captures) for graph in graphs if graph.name == "function")

    captioner = build(tokenizer)
    optimizer = make_optimizer(CONFIG, steps=1)
    optimizer.build(captioner.trainable_weights)
    step = make_train_step(captioner, optimizer, CONFIG)
    before = captured_variables()
    step(tf.constant(grid), tf.constant(train_data.token_ids[:3]))
    assert captured_variables() > before
    del step
    assert captured_variables() == before


def test_the_weights_of_the_best_epoch_are_kept(data, eager):
    grid, tokenizer, train_data = data
    captioner = build(tokenizer)
    validated = []

    def validate(captioner):
        validated.append(captioner.get_weights())
        return score_of([1.0, 3.0, 2.0][len(validated) - 1])

    train(captioner, train_data, grid, validate, replace(CONFIG, epochs=3))
    for kept, best in zip(captioner.get_weights(), validated[1], strict=True):
        np.testing.assert_array_equal(kept, best)


def test_features_on_the_device_and_in_a_memory_map_train_the_same(data, eager, monkeypatch):
    grid, tokenizer, train_data = data
    config = replace(CONFIG, epochs=2, batch_size=2)
    results = []
    for fits in (True, False):
        monkeypatch.setattr("utils.training.loop.fits_in_memory", lambda grid, fits=fits: fits)
        captioner = build(tokenizer, config)
        train(captioner, train_data, grid, constant_score, config)
        results.append(captioner.get_weights())
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_moving_average_of_the_weights_is_scored_and_kept(data, eager):
    grid, tokenizer, train_data = data
    initial = build(tokenizer).get_weights()
    distances = []
    for ema_momentum in (0.0, 0.9):  # 0 is no average
        config = replace(CONFIG, epochs=1, batch_size=1, ema_momentum=ema_momentum)
        captioner = build(tokenizer, config)
        validated = []

        def validate(captioner, validated=validated):
            validated.append(captioner.get_weights())
            return score_of(0.0)

        train(captioner, train_data, grid, validate, config)
        final = captioner.get_weights()
        np.testing.assert_array_equal(final[0], validated[-1][0])
        pairs = zip(final, initial, strict=True)
        distances.append(sum(np.abs(after - before).sum() for after, before in pairs))
    assert 0 < distances[1] < distances[0]


@pytest.mark.parametrize(
    ("scores", "stops"),
    [
        ([], False),
        ([3, 1], False),
        ([3, 1, 2], True),
        ([1, 3, 2], False),
        ([0, 0, 0], False),
        ([1, 2, 3, 4], True),
    ],
)
def test_training_stops_after_the_last_epoch_or_without_improvement(scores, stops):
    config = replace(CONFIG, epochs=4, patience=2)
    assert should_stop([{"CIDEr-D": score} for score in scores], config) == stops


def test_the_last_of_several_best_epochs_is_kept():
    progress = Progress()
    for epoch, score in enumerate([0.0, 2.0, 2.0, 1.0], start=1):
        progress.add_epoch(1.0, {"CIDEr-D": score}, [np.array(epoch)])
    assert progress.best_weights == [np.array(3)]
    assert best_epoch(progress.history) == 3


# === Stages ===


@pytest.mark.parametrize(
    ("changes", "names", "titles"),
    [
        ({}, ["train"], ["merge"]),
        ({"start_from": "earlier"}, ["warm_start"], ["merge"]),
        (
            {"fine_tune_epochs": 2, "scst_epochs": 1},
            ["train_end_to_end", "fine_tune", "scst"],
            ["merge", "fine-tuned", "SCST"],
        ),
    ],
)
def test_the_configuration_decides_which_stages_there_are(data, changes, names, titles):
    _, tokenizer, train_data = data
    config = replace(CONFIG, decoder="merge", **changes)
    stages = list(build_stages(config, build(tokenizer, config), train_data.token_ids))
    assert [stage.name for stage in stages] == names
    assert [stage.title for stage in stages] == titles


# === Errors ===


def test_a_loss_that_is_not_finite_stops_the_training(data):
    grid, tokenizer, (rows, token_ids) = data
    grid = np.repeat(grid, 2, axis=0)
    grid[5] = np.nan
    train_data = TrainData(np.concatenate([rows, rows + 3]), np.tile(token_ids, (2, 1, 1)))
    validated = []
    message = "loss of epoch 1 is not finite from batch [123] on: lower learning_rate, delete"
    with pytest.raises(CaptionsError, match=message):
        config = replace(CONFIG, batch_size=2)
        train(build(tokenizer), train_data, grid, validated.append, config)
    assert not validated


@pytest.mark.parametrize(
    ("name", "setting", "files"),
    [
        ("train", "learning_rate", "checkpoint-*.pkl"),
        ("fine_tune", "fine_tune_learning_rate", "checkpoint-fine_tune-*.pkl"),
        ("scst", "scst_learning_rate", "checkpoint-scst-*.pkl"),
    ],
)
def test_a_loss_that_is_not_finite_names_setting_and_checkpoints_of_its_stage(name, setting, files):
    stage = Stage(name, "title", CONFIG, setting)
    bar = SimpleNamespace(set_postfix_str=lambda *_, **__: None, update=lambda _: None)
    with pytest.raises(CaptionsError) as error:
        train_epoch(lambda *_: np.nan, [((None, None), 1)], bar, 2, stage)
    assert f"lower {setting}, delete {files} in the working folder" in str(error.value)


def test_a_batch_too_small_for_all_devices_names_the_setting():
    assert global_batch_size(photos=3, replicas=2, config=CONFIG) == 2
    with pytest.raises(CaptionsError, match="batch_size=1.*2 devices: set it to 2 or more"):
        global_batch_size(photos=3, replicas=2, config=replace(CONFIG, batch_size=1))


def test_fewer_photos_than_devices_are_an_error():
    with pytest.raises(CaptionsError, match="1 photos cannot be divided among 2 devices: add"):
        global_batch_size(photos=1, replicas=2, config=CONFIG)


def test_data_that_do_not_fit_the_captioner_are_an_error(data):
    grid, tokenizer, (rows, token_ids) = data
    captioner = build(tokenizer)
    with pytest.raises(CaptionsError, match="of 19 tokens.*token ID 108.*build it for these"):
        check_shapes(captioner, TrainData(rows, token_ids + 90), grid)
    with pytest.raises(CaptionsError, match=r"features \(3, 4, 2\).*build it for these"):
        check_shapes(captioner, TrainData(rows, token_ids), grid[..., :2])
    with pytest.raises(CaptionsError, match="row 3.*build it for these"):
        train(captioner, TrainData(rows + 1, token_ids), grid, constant_score, CONFIG)
