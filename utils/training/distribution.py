"""Training on several GPUs and on several machines.

Several GPUs of one machine need no setting: `choose_strategy` returns a `MirroredStrategy`. Each
GPU holds all weights and trains on its part of each batch; `batch_size` is that of the whole batch.

Several machines are a cluster, which the environment variable `TF_CONFIG` describes to each of
them. Run notebooks 01 and 02 once, in a working folder that all machines share; then run 03 on all
of them at the same time. On machine A of two, A and B, from the repository's root:

    export CAPTIONS_WORKING=/shared/working MPLBACKEND=agg PYTHONPATH=.
    export TF_CONFIG='{"cluster": {"worker": ["A:12345", "B:12345"]},
                       "task": {"type": "worker", "index": 0}}'
    python notebooks/scripts/03_train.py

and on machine B the same with `"index": 1`. Worker 0 saves the checkpoints. If a machine fails, end
the processes on the others, and run the same commands again: training continues after the last
epoch that was saved. To try a cluster on one machine with a training of a few seconds:

    for index in 0 1; do
        export TF_CONFIG='{"cluster": {"worker": ["localhost:12345", "localhost:12346"]},
                           "task": {"type": "worker", "index": '$index'}}'
        CAPTIONS_WORKING=/tmp/toy python -m tests.training.toy dropout=0 &
    done; wait

Both processes print the same history and the same hash of the weights.

Features can be extracted on several machines, too: with `CAPTIONS_SET=shard=1/2` notebook 01
extracts those of the first half of the photos, with `shard=2/2` those of the second half, and the
one that finishes last joins them (`utils/shards.py`).
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
