"""A killed training goes on to the very same end; a checkpoint of another one is refused."""

import errno
import os
from dataclasses import replace

import pytest
from tests.training.test_distribution import start

from tests.training.toy import SETTINGS, save_parents, train_toy, weights_hash
from utils import artifacts
from utils.errors import CaptionsError

DROPPED = replace(SETTINGS, dropout=0.3)  # the state of dropout is restored too


@pytest.fixture(autouse=True)
def working(tmp_path, monkeypatch):
    """A working folder of each test's own."""
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path))
    return tmp_path


def interrupt_at(epoch):
    """Something to watch a training with: it is interrupted before that epoch is saved."""
    ends = iter(range(1, 100))

    def watch(captioner):
        if next(ends) == epoch:
            raise KeyboardInterrupt

    return watch


def test_a_training_killed_by_the_system_ends_bit_identical(working):
    whole, history = train_toy(DROPPED, resume=False)
    killed = start(working, "dropout=0.3", kill="3")
    assert killed.wait(timeout=100) == -9
    assert (
        len(artifacts.read_pickle(working / "checkpoint-train-attention-1.pkl")["data"]["history"])
        == 2
    )
    again, resumed = train_toy(DROPPED)
    assert resumed == history and weights_hash(again) == weights_hash(whole)


def test_a_training_interrupted_at_several_epochs_ends_bit_identical_and_is_not_done_again():
    config = replace(DROPPED, decoder="merge")
    whole, history = train_toy(config, resume=False)
    for later in (2, 1):
        with pytest.raises(KeyboardInterrupt):
            train_toy(config, watch=interrupt_at(later))
    again, resumed = train_toy(config)
    assert resumed == history and weights_hash(again) == weights_hash(whole)
    last, same = train_toy(config, watch=interrupt_at(1))  # nothing is left to interrupt
    assert same == history and weights_hash(last) == weights_hash(whole)


def a_checkpoint(working, config=SETTINGS):
    """One that is there, of whatever training."""
    save_parents()
    return artifacts.save("train", {"history": ["first"]}, config)


def test_a_checkpoint_of_another_configuration_is_refused_with_all_differences(working):
    a_checkpoint(working)
    message = r"attention-1.pkl: made with units=16 \(now 24\), epochs=4 \(now 9\): go back"
    with pytest.raises(CaptionsError, match=message):
        train_toy(replace(SETTINGS, units=24, epochs=9))
    assert not artifacts.find("train", replace(SETTINGS, decoder="merge"))  # has its own


@pytest.mark.parametrize("parent", ["features", "captions", "tokenizer"])
def test_a_checkpoint_of_other_features_or_captions_is_refused(working, parent):
    a_checkpoint(working)
    artifacts.save(parent, {"of": "others"}, SETTINGS)
    with pytest.raises(CaptionsError, match=f"made from another {parent}.pkl"):
        artifacts.load("train", SETTINGS)


def test_a_damaged_checkpoint_is_refused(working):
    path = a_checkpoint(working)
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaptionsError, match="checkpoint-train-attention-1.pkl: damaged"):
        train_toy()


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(working, monkeypatch):
    path = a_checkpoint(working)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(working.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CaptionsError, match="attention-1.pkl: could not be written .No space"):
            artifacts.save("train", {"history": ["first", "second"]}, SETTINGS)
    assert path in before and sorted(working.iterdir()) == before
    assert artifacts.load("train", SETTINGS) == {"history": ["first"]}


def test_saving_the_history_removes_checkpoints(working):
    for kind in ("features", "captions", "tokenizer", "captioner"):
        artifacts.save(kind, {}, SETTINGS)
    names = (
        "checkpoint-train-merge-1",
        "checkpoint-train-attention-2",
        "tuning-attention-1",
        "scoring-merge-1",
    )
    for name in names:
        (working / f"{name}.pkl").touch()
    artifacts.save("history", {}, SETTINGS)
    assert (working / "history.pkl").is_file() and (working / "captioner.pkl").is_file()
    assert not any((working / f"{name}.pkl").exists() for name in names)
