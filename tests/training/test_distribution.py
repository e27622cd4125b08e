"""Several devices, in one process or in several, train like one; precision; memory."""

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

from tests.training.toy import (
    CHANNELS,
    CONFIG,
    constant_score,
    save_parents,
    toy_data,
    train_toy,
    weights_hash,
)
from utils import devices
from utils.decoding.beam_search import generate
from utils.devices import dtype_policy
from utils.errors import CaptionsError
from utils.models import captioners
from utils.models.captioners import build_captioner
from utils.paths import REPOSITORY
from utils.training import checkpoint, step
from utils.training.distribution import fits_in_memory
from utils.training.loop import train
from utils.training.step import make_optimizer, make_train_step

NO_DROPOUT = replace(CONFIG, dropout=0.0)  # each device draws its own dropout masks


def start(folder, config="dropout=0", kill_at="", **variables):
    """Start a process that trains the toy, with its checkpoint in `folder`."""
    environment = {**os.environ, "CAPTIONS_WORKING": str(folder), **variables}
    with mock.patch.dict(os.environ, environment):
        save_parents()  # here, since two processes would do it at the same time
    command = [sys.executable, "-m", "tests.training.toy", config]
    if kill_at:
        command.append(kill_at)
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process):
    """Wait for a process and return what it printed."""
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    return json.loads(stdout.splitlines()[-1])


def tf_configs(*task_types):
    """TF_CONFIG of each process of a cluster on this machine."""
    sockets = [socket.create_server(("localhost", 0)) for _ in task_types]
    cluster = {task_type: [] for task_type in task_types}
    tasks = []
    for server, task_type in zip(sockets, task_types, strict=True):
        tasks.append({"type": task_type, "index": len(cluster[task_type])})
        cluster[task_type].append(f"localhost:{server.getsockname()[1]}")
        server.close()
    return [json.dumps({"cluster": cluster, "task": task}) for task in tasks]


def assert_same_history(history, expected):
    for row, expected_row in zip(history, expected, strict=True):
        assert row["loss"] == pytest.approx(expected_row["loss"], abs=1e-4)
        assert row["CIDEr-D"] == pytest.approx(expected_row["CIDEr-D"], abs=1e-3)


def test_two_devices_train_like_one(tmp_path):
    two = result(start(tmp_path, TOY_DEVICES="2"))
    assert_same_history(two["history"], train_toy(NO_DROPOUT, checkpoints=False)[1])


@pytest.mark.slow
def test_two_processes_train_like_one_and_resume_after_one_was_killed(tmp_path):
    chief, worker = tf_configs("chief", "worker")
    processes = [
        start(tmp_path / "chief", TF_CONFIG=chief),
        start(tmp_path / "worker", TF_CONFIG=worker),
    ]
    results = [result(process) for process in processes]
    assert results[0] == results[1]
    assert_same_history(results[0]["history"], train_toy(NO_DROPOUT, checkpoints=False)[1])
    file = "checkpoint-train-attention-1.pkl"
    assert (tmp_path / "chief" / file).exists()
    assert not (tmp_path / "worker" / file).exists()

    folder = tmp_path / "killed"
    first, second = tf_configs("worker", "worker")
    survivor = start(folder, TF_CONFIG=first)
    killed = start(folder, kill_at="3", TF_CONFIG=second)
    assert killed.wait(timeout=200) == -9
    survivor.kill()  # it waits for the other one
    survivor.wait()
    assert (folder / file).exists()
    resumed = [start(folder, TF_CONFIG=tf_config) for tf_config in tf_configs("worker", "worker")]
    assert [result(process) for process in resumed] == results


def use_dtype_policy(monkeypatch, policy):
    """Compute in a precision that this machine is not fast at."""
    monkeypatch.setattr(captioners, "dtype_policy", lambda config: policy)
    monkeypatch.setattr(step, "dtype_policy", lambda config: policy)
    monkeypatch.setattr(checkpoint, "dtype_policy", lambda config: policy)


@pytest.mark.slow
def test_half_precision_trains_about_the_same(monkeypatch):
    grid, tokenizer, train_data = toy_data()
    histories = []
    for policy in ("float32", "mixed_float16", "mixed_bfloat16"):
        use_dtype_policy(monkeypatch, policy)
        captioner = build_captioner(CHANNELS, len(tokenizer), NO_DROPOUT)
        assert captioner.output_projection.compute_dtype == policy.removeprefix("mixed_")
        assert captioner.output_projection.kernel.dtype == "float32"
        history = train(captioner, train_data, grid, constant_score, NO_DROPOUT)
        histories.append(history)
        output = generate(captioner, grid, NO_DROPOUT, progress=False)
        assert len(output.token_ids) == len(grid)
    for history in histories[1:]:
        for row, expected in zip(history, histories[0], strict=True):
            assert row["loss"] == pytest.approx(expected["loss"], abs=0.03)
    assert keras.config.dtype_policy().name == "float32"  # encoders must not change


@pytest.mark.slow
def test_float16_resumes_bit_identically_and_not_in_another_precision(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path))

    def interrupt_second_epoch():
        epochs = iter([1, 2])

        def interrupt(captioner):
            if next(epochs) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_toy(on_validation=interrupt)

    use_dtype_policy(monkeypatch, "mixed_float16")
    captioner, history = train_toy(checkpoints=False)
    interrupt_second_epoch()
    resumed, resumed_history = train_toy()
    assert resumed_history == history
    assert weights_hash(resumed) == weights_hash(captioner)

    (tmp_path / "checkpoint-train-attention-1.pkl").unlink()
    interrupt_second_epoch()
    use_dtype_policy(monkeypatch, "float32")
    message = r"made with precision=mixed_float16 \(now float32\): restore the settings"
    with pytest.raises(CaptionsError, match=message):
        train_toy()


def test_a_float16_step_with_infinite_gradients_is_skipped(monkeypatch):
    use_dtype_policy(monkeypatch, "mixed_float16")
    grid, tokenizer, train_data = toy_data()
    captioner = build_captioner(CHANNELS, len(tokenizer), NO_DROPOUT)
    optimizer = make_optimizer(NO_DROPOUT, steps=10)
    optimizer.build(captioner.trainable_weights)
    optimizer.dynamic_scale.assign(1e30)
    train_step = make_train_step(captioner, optimizer, NO_DROPOUT)
    before = captioner.get_weights()
    loss = train_step(tf.constant(grid[:4]), tf.constant(train_data.token_ids[:4]))
    assert np.isfinite(float(loss))
    assert float(optimizer.dynamic_scale) == pytest.approx(5e29)
    for weight, expected in zip(captioner.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2", "float32"), ("fpu avx512_bf16", "mixed_bfloat16"), (None, "float32")],
)
def test_half_precision_is_used_if_asked_for_and_if_the_device_is_fast_at_it(
    tmp_path, monkeypatch, flags, expected
):
    cpu_info = tmp_path / "cpuinfo"
    if flags:
        cpu_info.write_text(f"flags : {flags}\n")
    monkeypatch.setattr(devices, "CPU_INFO", cpu_info)
    if tf.config.list_logical_devices("GPU"):
        expected = "mixed_float16"
    assert dtype_policy(CONFIG) == "float32"
    assert dtype_policy(replace(CONFIG, precision="auto")) == expected


def test_an_array_larger_than_a_devices_memory_does_not_fit():
    assert fits_in_memory(np.zeros(10))
    assert not fits_in_memory(np.broadcast_to(np.float16(0), (10**9, 10**6)))


def test_equal_weights_have_equal_hashes():
    first, _ = train_toy(checkpoints=False)
    second, _ = train_toy(checkpoints=False)
    assert weights_hash(first) == weights_hash(second)
