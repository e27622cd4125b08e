"""The devices of this machine, and the precision that suits them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from utils.config import Config

CPU_INFO = Path("/proc/cpuinfo")  # on Linux
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def local_strategy() -> tf.distribute.Strategy:
    """The strategy for this machine alone: all its GPUs together, or its one device."""
    devices = tf.config.list_logical_devices("GPU")
    if not devices:
        devices = tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def dtype_policy(config: Config) -> str:
    """The Keras dtype policy of a training: mixed precision, or float32.

    With `precision="auto"` it is half precision on a device that is fast at it: float16 on a GPU,
    bfloat16 on a processor with instructions for it.
    """
    if config.precision != "auto":
        return config.precision
    if tf.config.list_logical_devices("GPU"):
        return "mixed_float16"
    flags = CPU_INFO.read_text(errors="replace").split() if CPU_INFO.is_file() else []
    return "mixed_bfloat16" if BFLOAT16_FLAGS.intersection(flags) else "float32"


@contextmanager
def dtype_policy_scope(policy: Any) -> Iterator[None]:
    """Set Keras's global dtype policy, and restore the previous one at the end."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def compile_graph(function: Callable, **options: Any) -> Any:
    """`tf.function` with a count of its own for TensorFlow's warning about frequent retracing.

    TensorFlow counts calls and traces by the code of a Python function. The training steps of five
    stages have the same code; each one is a graph of its own, which is traced once. With few photos
    each is called once or twice, and they would be reported as one function that is traced in
    every call. A `partial` has no code, so it is counted by itself.

    Args:
        function: What is compiled.
        **options: Those of `tf.function`.
    """
    return tf.function(partial(function), **options)


@contextmanager
def eager_execution() -> Iterator[None]:
    """Run functions decorated with `tf.function` operation by operation, without tracing a graph.

    On a GPU graphs stay, because they run faster there and can be spread over several devices.
    """
    previous = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(not tf.config.list_physical_devices("GPU"))
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(previous)
