"""The LSTM with one matrix product for all inputs computes what Keras's LSTM computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from utils.devices import dtype_policy_scope
from utils.models.lstm import LSTM

BATCH, TIME, CHANNELS, UNITS = 3, 5, 4, 6
TOLERANCES = {"float32": 1e-5, "mixed_float16": 0.01, "mixed_bfloat16": 0.05}


def random_tensor(*shape, seed=0, dtype="float32"):
    return tf.constant(np.random.RandomState(seed).normal(size=shape), dtype)


def layers_with_equal_weights(dtype):
    reference = keras.layers.LSTM(UNITS, return_sequences=True, return_state=True, dtype=dtype)
    reference.build((None, None, CHANNELS))
    with dtype_policy_scope(dtype):
        layer = LSTM(UNITS, name="lstm")
    layer.build((None, None, CHANNELS))
    weights = [random_tensor(*weight.shape, seed=10 + weight.ndim) for weight in reference.weights]
    reference.set_weights(weights)
    layer.set_weights(weights)
    return reference, layer


def compute(layer, sequences, state):
    """Outputs, last states, and gradients by inputs, initial states and weights."""
    with tf.GradientTape() as tape:
        tape.watch([sequences, *state])
        outputs, hidden, cell_state = layer(sequences, initial_state=state)
        targets = [random_tensor(*outputs.shape, seed=5, dtype=outputs.dtype), 2.0, -3.0]
        sums = [
            tf.reduce_sum(tf.cast(values * tf.cast(target, values.dtype), tf.float32))
            for values, target in zip((outputs, hidden, cell_state), targets, strict=True)
        ]
    gradients = tape.gradient(sums, [sequences, *state, *layer.trainable_weights])
    return [outputs, hidden, cell_state, *gradients]


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items())
@pytest.mark.parametrize("time", [1, TIME])
@pytest.mark.parametrize("compiled", [False, True])
def test_outputs_states_and_gradients_are_those_of_keras(dtype, tolerance, time, compiled):
    reference, layer = layers_with_equal_weights(dtype)
    compute_dtype = reference.compute_dtype
    sequences = random_tensor(BATCH, time, CHANNELS, dtype=compute_dtype)
    state = [random_tensor(BATCH, UNITS, seed=seed, dtype=compute_dtype) for seed in (1, 2)]
    run = tf.function(compute) if compiled else compute
    for actual, expected in zip(
        run(layer, sequences, state), compute(reference, sequences, state), strict=True
    ):
        assert actual.dtype == expected.dtype
        actual, expected = (tf.cast(values, tf.float32) for values in (actual, expected))
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def test_sequences_with_a_mask_are_left_to_keras():
    reference, layer = layers_with_equal_weights("float32")
    sequences = random_tensor(BATCH, TIME, CHANNELS)
    mask = tf.sequence_mask([2, TIME, 4], TIME)
    for actual, expected in zip(
        layer(sequences, mask=mask), reference(sequences, mask=mask), strict=True
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-6)
    without_mask, *_ = layer(sequences)
    assert np.abs(without_mask - layer(sequences, mask=mask)[0]).max() > 1e-3


def report_gpus(monkeypatch, gpus):
    """Let TensorFlow report these GPUs, whatever the machine has."""
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda device_type: gpus)


@pytest.fixture
def calls_of_keras(monkeypatch):
    """The sequences that are left to the loop of Keras."""
    calls = []
    inner_loop = keras.layers.LSTM.inner_loop

    def record(self, sequences, *arguments, **options):
        calls.append(sequences)
        return inner_loop(self, sequences, *arguments, **options)

    monkeypatch.setattr(keras.layers.LSTM, "inner_loop", record)
    return calls


def test_keras_computes_sequences_with_a_mask_and_those_on_a_gpu(calls_of_keras, monkeypatch):
    report_gpus(monkeypatch, [])
    layer = LSTM(UNITS, name="lstm")
    sequences = random_tensor(BATCH, TIME, CHANNELS)
    without_gpu, *_ = layer(sequences)
    assert len(calls_of_keras) == 0
    layer(sequences, mask=tf.sequence_mask([2, TIME, 4], TIME))
    assert len(calls_of_keras) == 1
    report_gpus(monkeypatch, ["/GPU:0"])
    with_gpu, *_ = layer(sequences)
    assert len(calls_of_keras) == 2
    np.testing.assert_allclose(with_gpu, without_gpu, atol=1e-5)


def test_xla_compiles_the_gradient(monkeypatch):
    report_gpus(monkeypatch, [])
    _, layer = layers_with_equal_weights("float32")
    sequences = random_tensor(BATCH, TIME, CHANNELS)
    state = [random_tensor(BATCH, UNITS, seed=seed) for seed in (1, 2)]
    with_xla = tf.function(compute, jit_compile=True)(layer, sequences, state)
    for actual, expected in zip(with_xla, compute(layer, sequences, state), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
