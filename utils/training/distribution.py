"""Training on several GPUs and on several machines.

Several GPUs of one machine need no setting: `choose_strategy` returns a `MirroredStrategy`. Each
GPU holds all weights and trains on its part of each batch; `batch_size` is that of the whole batch.

Several machines are a cluster, which the environment variable `TF_CONFIG` describes to each of
them. With two machines, A and B, that share the working folder (or have copies of it, made after
01_features and 02_text), run notebook 03 on both, e.g. with

    export CAPTIONS_WORKING=/shared/working
    export TF_CONFIG='{"cluster": {"worker": ["A:12345", "B:12345"]},
                       "task": {"type": "worker", "index": 0}}'      # "index": 1 on B
    python notebooks/scripts/03_train.py

Worker 0 saves the checkpoints. If a machine fails, end the processes on the others and run the same
command again on all: training continues from the last epoch. Both processes also run on one machine
(`localhost:12345` and `localhost:12346`), which tests/training/test_distribution.py does.

01_features needs no cluster: with `CAPTIONS_SET="shard=1/2"` on A and `shard=2/2` on B each machine
extracts the features of half of the photos.
"""

import json
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.client import device_lib

from utils.devices import local_strategy


@lru_cache
def choose_strategy() -> Any:
    """The distribution strategy for a cluster (`TF_CONFIG`), several GPUs, or one device.

    It must be chosen before TensorFlow is first used; later calls return the same strategy.
    """
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    processes = sum(len(addresses) for addresses in cluster.values())
    if processes > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    return local_strategy()


def fits_in_memory(array: np.ndarray) -> bool:
    """Whether an array takes at most half the memory of a device.

    TensorFlow reports little memory for a CPU, where a memory map is as fast.
    """
    devices = {device.device_type: device for device in device_lib.list_local_devices()}
    device = devices.get("GPU", devices["CPU"])
    return 2 * array.nbytes <= device.memory_limit


def replicate(strategy: Any, value_of: Callable[[int], Any]) -> Any:
    """Place a value on each replica's device.

    Args:
        strategy: The distribution strategy.
        value_of: Gives the value for the replica of that number.

    Returns:
        A tensor, or with several replicas a distributed value for `strategy.run`.
    """
    if strategy.num_replicas_in_sync == 1:
        return tf.convert_to_tensor(value_of(0))
    local_devices = strategy.extended.worker_devices  # a cluster lists only this machine's

    def place(context: Any) -> Any:
        replica = context.replica_id_in_sync_group
        with tf.device(local_devices[replica % len(local_devices)]):
            return tf.convert_to_tensor(value_of(replica))

    return strategy.experimental_distribute_values_from_function(place)
