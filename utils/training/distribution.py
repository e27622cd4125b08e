"""Which devices train together (each has all weights and a share of each batch), how exactly."""

import json
import os
from functools import lru_cache

import tensorflow as tf
from tensorflow.python.client import device_lib

from utils.devices import local_strategy


@lru_cache
def choose_strategy():
    """The strategy for a cluster (`TF_CONFIG`), several GPUs, or one device. Taught in 03_train.

    It must be chosen before TensorFlow is used at all; asked again, the same one is given.
    """
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    if sum(map(len, cluster.values())) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    return local_strategy()


def fits_in_memory(array):
    """Whether an array takes at most half a device's memory (a CPU counts little: it has maps)."""
    devices = {device.device_type: device for device in device_lib.list_local_devices()}
    return 2 * array.nbytes <= devices.get("GPU", devices["CPU"]).memory_limit


def replicate(strategy, value_of):
    """One value for each device, put there: `value_of(number)` of the number of its replica."""
    if strategy.num_replicas_in_sync == 1:
        return tf.convert_to_tensor(value_of(0))
    devices = strategy.extended.worker_devices

    def place(context):
        number = context.replica_id_in_sync_group
        with tf.device(devices[number % len(devices)]):  # of a cluster, only those here are listed
            return tf.convert_to_tensor(value_of(number))

    return strategy.experimental_distribute_values_from_function(place)
