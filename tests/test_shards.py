"""Every photo is in one shard, and the shard of a process comes from the setting or the cluster."""

import json
from dataclasses import replace

import pytest

from utils.config import Config
from utils.errors import CaptionsError
from utils.shards import Shard, current_shard, split_into_shards

CONFIG = Config()


def test_shard_comes_from_the_setting():
    assert current_shard(CONFIG) == Shard(1, 1)
    assert current_shard(replace(CONFIG, shard="2/8")) == Shard(2, 8)


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/2/3"])
def test_invalid_shard_is_refused(text):
    with pytest.raises(CaptionsError, match=f"'shard={text}': not a shard: write 2/8"):
        current_shard(replace(CONFIG, shard=text))


def test_shard_comes_from_the_cluster_unless_it_is_set(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for task_type, index, number in (("chief", 0, 1), ("worker", 0, 2), ("worker", 1, 3)):
        task = {"type": task_type, "index": index}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        assert current_shard(CONFIG) == Shard(number, 3)
    assert current_shard(replace(CONFIG, shard="2/8")) == Shard(2, 8)


def test_tf_config_without_cluster_is_ignored(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"environment": "cloud"}')
    assert current_shard(CONFIG) == Shard(1, 1)


@pytest.mark.parametrize(("length", "count"), [(20, 1), (20, 3), (5, 2), (0, 2), (3, 5)])
def test_shards_together_are_all_items_and_start_at_full_batches(length, count):
    items = list(range(length))
    shards = split_into_shards(items, count, batch_size=4)
    assert len(shards) == count
    assert [item for shard in shards for item in shard] == items
    assert all(shard[0] % 4 == 0 for shard in shards if shard)
