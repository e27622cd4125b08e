"""The devices of this machine, and the precision that suits them."""

from pathlib import Path

import tensorflow as tf

CPU_INFO = Path("/proc/cpuinfo")  # on Linux


def local_strategy():
    """The strategy for this machine alone: all its GPUs together, or its one device."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def dtype_policy(config):
    """How exact most numbers are: with `auto`, half the bits on a device that is made for that."""
    if config.precision != "auto":
        return config.precision
    if tf.config.list_logical_devices("GPU"):
        return "mixed_float16"
    flags = CPU_INFO.read_text(errors="replace").split() if CPU_INFO.is_file() else ()
    return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"
