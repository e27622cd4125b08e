"""Several devices, of one process or of several, train as one does; a lost one loses nothing."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training.toy import CHANNELS, SETTINGS, save_parents, toy_data, train_toy, weights_hash
from utils.decoding.beam_search import generate
from utils.devices import dtype_policy
from utils.models import captioners
from utils.models.captioners import build_captioner
from utils.paths import REPOSITORY
from utils.training import distribution
from utils.training.distribution import fits_in_memory
from utils.training.loop import train

EXACT = replace(SETTINGS, dropout=0.0)  # devices draw their own dropout


def start(folder, config="dropout=0", kill="", **variables):
    """A process that trains the toy, with its checkpoint in `folder`."""
    environment = os.environ | {"CAPTIONS_WORKING": str(folder)} | variables
    with mock.patch.dict(os.environ, environment):
        save_parents()  # here: two processes would do it at once
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.toy", config, *([kill] if kill else [])],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process):
    """What a process printed, once it has ended well."""
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def cluster(*kinds):
    """TF_CONFIG for each process of a cluster on this machine."""
    sockets = [socket.create_server(("localhost", 0)) for _ in kinds]
    places = {kind: [] for kind in kinds}
    for server, kind in zip(sockets, kinds, strict=True):
        places[kind].append(f"localhost:{server.getsockname()[1]}")
        server.close()
    for number, kind in enumerate(kinds):
        task = {"type": kind, "index": kinds[:number].count(kind)}
        yield json.dumps({"cluster": places, "task": task})


def assert_same_course(history, other):
    for row, expected in zip(history, other, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], abs=1e-4)
        assert row["CIDEr-D"] == pytest.approx(expected["CIDEr-D"], abs=1e-3)


def test_two_devices_learn_what_one_learns(tmp_path):
    two = result(start(tmp_path, TOY_DEVICES="2"))
    assert_same_course(two["history"], train_toy(EXACT, resume=False)[1])


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_and_outlive_a_killed_one(tmp_path):
    chief, worker = cluster("chief", "worker")
    whole = [
        start(tmp_path / "chief", TF_CONFIG=chief),
        start(tmp_path / "worker", TF_CONFIG=worker),
    ]
    whole = [result(process) for process in whole]
    assert whole[0] == whole[1]
    assert_same_course(whole[0]["history"], train_toy(EXACT, resume=False)[1])
    assert (tmp_path / "chief" / "checkpoint-train-attention-1.pkl").exists()
    assert not (tmp_path / "worker" / "checkpoint-train-attention-1.pkl").exists()

    first, second = cluster("worker", "worker")
    survivor = start(tmp_path / "killed", TF_CONFIG=first)
    killed = start(tmp_path / "killed", kill="3", TF_CONFIG=second)
    assert killed.wait(timeout=200) == -9
    survivor.kill()  # it waits for the other
    survivor.wait()
    assert (tmp_path / "killed" / "checkpoint-train-attention-1.pkl").exists()
    again = [start(tmp_path / "killed", TF_CONFIG=config) for config in cluster("worker", "worker")]
    assert [result(process) for process in again] == whole


@pytest.mark.slow
def test_half_precision_learns_about_the_same(monkeypatch):
    grid, tokenizer, pairs = toy_data()
    histories = []
    for kind in ("float32", "mixed_float16", "mixed_bfloat16"):
        monkeypatch.setattr(captioners, "precision", lambda _, kind=kind: kind)
        monkeypatch.setattr("utils.training.loop.precision", lambda _, kind=kind: kind)
        captioner = build_captioner(CHANNELS, len(tokenizer), EXACT)
        assert captioner.output_projection.compute_dtype == kind.removeprefix("mixed_")
        assert captioner.output_projection.kernel.dtype == "float32"
        histories.append(train(captioner, pairs, grid, lambda captioner: 0.0, EXACT))
        assert len(generate(captioner, grid, EXACT, progress=False).words) == len(grid)
    for half in histories[1:]:
        for row, other in zip(histories[0], half, strict=True):
            assert other["loss"] == pytest.approx(row["loss"], abs=0.03)
    assert keras.config.dtype_policy().name == "float32"  # for encoders, which must not change


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2", "float32"), ("fpu avx512_bf16", "mixed_bfloat16"), (None, "float32")],
)
def test_half_the_bits_only_where_asked_for_and_on_a_device_made_for_it(
    tmp_path, monkeypatch, flags, expected
):
    known = tmp_path / "cpuinfo"
    if flags:
        known.write_text(f"flags : {flags}\n")
    monkeypatch.setattr(distribution, "CPU", known)
    assert dtype_policy(SETTINGS) == "float32"
    found = dtype_policy(replace(SETTINGS, precision="auto"))
    assert found == ("mixed_float16" if tf.config.list_logical_devices("GPU") else expected)


def test_what_is_larger_than_a_devices_memory_does_not_fit():
    assert fits_in_memory(np.zeros(10))
    assert not fits_in_memory(np.broadcast_to(np.float16(0), (10**9, 10**6)))


def test_equal_bits_have_equal_hashes():
    assert weights_hash(train_toy(resume=False)[0]) == weights_hash(train_toy(resume=False)[0])
