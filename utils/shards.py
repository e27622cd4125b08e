"""Shards: each of several machines extracts the features of one part of the photos."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from utils.config import Config, parse_shard

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """One part of several; `number` counts from 1."""

    number: int
    count: int


def current_shard(config: Config) -> Shard:
    """The shard that this process computes.

    It is what the setting `shard` says, or else this worker's place in the cluster that
    TF_CONFIG describes, or else everything.
    """
    number, count = parse_shard(config.shard or cluster_shard() or "1/1")
    return Shard(number, count)


def cluster_shard() -> str | None:
    """The place of this process in the cluster of TF_CONFIG as `2/8`; None without a cluster."""
    tf_config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    cluster = tf_config.get("cluster")
    if not cluster:
        return None
    task = tf_config["task"]
    chiefs = len(cluster.get("chief", []))
    workers = len(cluster.get("worker", []))
    position = task["index"] + 1
    if task["type"] == "worker":  # workers come after the chief
        position += chiefs
    return f"{position}/{chiefs + workers}"


def split_into_shards(items: Sequence[Item], count: int, batch_size: int) -> list[Sequence[Item]]:
    """Split `items` into `count` shards of about the same length.

    All of them start at a multiple of `batch_size`, so that every batch is the same as it would be
    without shards: the batch an image is in can change the last bits of its features.
    """
    starts = []
    for part in range(count):
        start = len(items) * part // count
        starts.append(start // batch_size * batch_size)
    ends = [*starts[1:], len(items)]
    return [items[start:end] for start, end in zip(starts, ends, strict=True)]
