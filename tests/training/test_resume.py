"""A training that was killed continues to the same bits; a checkpoint of another one is refused."""

import errno
import os
from dataclasses import replace

import pytest

from tests.training.test_distribution import start
from tests.training.toy import CONFIG, save_parents, train_toy, weights_hash
from utils import artifacts
from utils.errors import CaptionsError

DROPOUT = replace(CONFIG, dropout=0.3)  # the state of dropout's seed must be restored, too


@pytest.fixture(autouse=True)
def working(tmp_path, monkeypatch):
    """A working folder for each test."""
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path))
    return tmp_path


def interrupt_at(epoch):
    """A function for `on_validation` that interrupts the training before an epoch is saved."""
    epochs = iter(range(1, 100))

    def interrupt(captioner):
        if next(epochs) == epoch:
            raise KeyboardInterrupt

    return interrupt


def test_a_killed_training_resumes_bit_identically(working):
    captioner, history = train_toy(DROPOUT, checkpoints=False)
    killed = start(working, "dropout=0.3", kill_at="3")
    assert killed.wait(timeout=100) == -9
    checkpoint = artifacts.read_pickle(working / "checkpoint-train-attention-1.pkl")
    assert len(checkpoint["data"]["history"]) == 2
    resumed, resumed_history = train_toy(DROPOUT)
    assert resumed_history == history
    assert weights_hash(resumed) == weights_hash(captioner)


def test_a_training_interrupted_twice_resumes_bit_identically_and_is_not_repeated():
    config = replace(DROPOUT, decoder="merge")
    captioner, history = train_toy(config, checkpoints=False)
    for epoch in (2, 1):
        with pytest.raises(KeyboardInterrupt):
            train_toy(config, on_validation=interrupt_at(epoch))
    resumed, resumed_history = train_toy(config)
    assert resumed_history == history
    assert weights_hash(resumed) == weights_hash(captioner)
    # A finished training has no epoch left that could be interrupted.
    finished, finished_history = train_toy(config, on_validation=interrupt_at(1))
    assert finished_history == history
    assert weights_hash(finished) == weights_hash(captioner)


def save_checkpoint(config=CONFIG):
    """Save a checkpoint with a history alone; returns its path."""
    save_parents()
    return artifacts.save("train", {"history": ["first"]}, config)


def test_a_checkpoint_of_another_configuration_is_refused_with_all_differences():
    save_checkpoint()
    message = r"attention-1.pkl: made with units=16 \(now 24\), epochs=4 \(now 9\): restore"
    with pytest.raises(CaptionsError, match=message):
        train_toy(replace(CONFIG, units=24, epochs=9))
    assert not artifacts.find("train", replace(CONFIG, decoder="merge"))  # has its own checkpoint


@pytest.mark.parametrize("parent", ["features", "captions", "tokenizer"])
def test_a_checkpoint_of_other_features_or_captions_is_refused(parent):
    save_checkpoint()
    artifacts.save(parent, {"of": "others"}, CONFIG)
    with pytest.raises(CaptionsError, match=f"made from another {parent}.pkl"):
        artifacts.load("train", CONFIG)


def test_a_damaged_checkpoint_is_refused():
    path = save_checkpoint()
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaptionsError, match="checkpoint-train-attention-1.pkl: damaged"):
        train_toy()


def test_a_full_disk_is_a_one_line_error_and_keeps_the_last_checkpoint(working, monkeypatch):
    path = save_checkpoint()

    def disk_full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(working.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk_full)
        with pytest.raises(CaptionsError, match="attention-1.pkl: could not be written .No space"):
            artifacts.save("train", {"history": ["first", "second"]}, CONFIG)
    assert path in before
    assert sorted(working.iterdir()) == before
    assert artifacts.load("train", CONFIG) == {"history": ["first"]}


def test_saving_the_history_deletes_all_checkpoints(working):
    for kind in ("features", "captions", "tokenizer", "captioner"):
        artifacts.save(kind, {}, CONFIG)
    names = ["train-merge-1", "train-attention-2", "fine_tune-attention-1", "scst-merge-1"]
    checkpoints = [working / f"checkpoint-{name}.pkl" for name in names]
    for checkpoint in checkpoints:
        checkpoint.touch()
    artifacts.save("history", {}, CONFIG)
    assert (working / "history.pkl").is_file()
    assert (working / "captioner.pkl").is_file()
    assert not any(checkpoint.exists() for checkpoint in checkpoints)
