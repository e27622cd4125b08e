"""Which devices train together (each has all weights and a share of each batch), how exactly."""

import json
import os
from functools import lru_cache
from pathlib import Path

import tensorflow as tf
from tensorflow.python.client import device_lib

CPU = Path("/proc/cpuinfo")  # on Linux


@lru_cache
def choose_devices():
    """The strategy for a cluster (`TF_CONFIG`), several GPUs, or one device. Taught in 03_train.

    It must be chosen before TensorFlow is used at all; asked again, the same one is given.
    """
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    if sum(map(len, cluster.values())) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    return local_strategy()


def local_strategy():
    """The strategy for this machine alone: all its GPUs together, or its one device."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def precision(settings):
    """How exact most numbers are: with `auto`, half the bits on a device that is made for that."""
    if settings.precision != "auto":
        return settings.precision
    if tf.config.list_logical_devices("GPU"):
        return "mixed_float16"
    flags = CPU.read_text(errors="replace").split() if CPU.is_file() else ()
    return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


def fits(array):
    """Whether an array takes at most half a device's memory (a CPU counts little: it has maps)."""
    devices = {device.device_type: device for device in device_lib.list_local_devices()}
    return 2 * array.nbytes <= devices.get("GPU", devices["CPU"]).memory_limit


def spread(strategy, value_of):
    """One value for each device, put there: `value_of(number)` of the number of its replica."""
    if strategy.num_replicas_in_sync == 1:
        return tf.convert_to_tensor(value_of(0))
    devices = strategy.extended.worker_devices

    def place(context):
        number = context.replica_id_in_sync_group
        with tf.device(devices[number % len(devices)]):  # of a cluster, only those here are listed
            return tf.convert_to_tensor(value_of(number))

    return strategy.experimental_distribute_values_from_function(place)
