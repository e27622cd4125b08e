"""The sample world: varied, the same every time, and honest about what is held out."""

import csv
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from itertools import combinations

import pytest

from utils.sample import scenes
from utils.sample.dataset import read_scenes, sample_is_complete, write_sample
from utils.sample.scenes import COLORS, FACTS, USES, held_out, sample_scenes

PAIRS = list(combinations(("subject", "color", "action"), 2))


def values(world, *facts):
    return {tuple(getattr(scene, fact) for fact in facts) for scene in world}


@pytest.fixture(scope="module")
def world():
    return sample_scenes(3000, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, train=6, validation=2, test=4, seed=5, progress=False)
    return folder


def names(folder, split):
    return (folder / f"sample.{split}Images.txt").read_text().split()


def test_the_world_is_varied():
    least = dict(subject=8, count=3, color=8, action=6, thing=9, place=6, sky=4, side=3)
    assert list(FACTS) == list(least)
    assert all(len(set(FACTS[fact])) >= number for fact, number in least.items())


def test_every_value_occurs_and_only_these(world):
    for fact, allowed in FACTS.items():
        assert {value for (value,) in values(world, fact)} == set(allowed)


def test_scenes_make_sense(world):
    for scene in world:
        assert scene.color in COLORS[scene.subject]
        assert not (scene.sky == "rain" and scene.place == "snow")
        if scene.thing != "none":
            who, how = USES[scene.thing]
            assert scene.subject in who and scene.action in how


def test_most_scenes_have_a_thing_and_most_are_of_one(world):
    things = sum(scene.thing != "none" for scene in world) / len(world)
    counts = Counter(scene.count for scene in world)
    assert 0.55 < things < 0.75
    assert counts[1] > counts[2] > counts[3] > 0.1 * len(world)


def test_a_seed_decides_everything():
    assert sample_scenes(50, seed=3) == sample_scenes(50, seed=3)
    assert sample_scenes(50, seed=3) != sample_scenes(50, seed=4)
    assert sample_scenes(80, seed=3)[:50] == sample_scenes(50, seed=3)


def test_the_held_out_set_is_fixed():
    """The same in another process, where strings hash differently."""
    code = "from world.scenes import held_out; print(sorted(held_out()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(sorted(held_out()))
    triples = sum(len(colors) for colors in COLORS.values()) * len(FACTS["action"])
    assert 0.10 < len(held_out()) / triples < 0.14


def test_seen_and_unseen_never_meet(world):
    unseen = sample_scenes(500, seed=1, unseen=True)
    assert not held_out() & {scene.triple for scene in world}
    assert {scene.triple for scene in unseen} <= held_out()


def test_every_part_and_pair_of_the_unseen_is_seen():
    """Already among the 900 scenes that one trains on."""
    seen, unseen = sample_scenes(900, seed=8), sample_scenes(500, seed=8, unseen=True)
    for fact in FACTS:
        assert values(unseen, fact) <= values(seen, fact)
    possible = {
        (subject, color, action)
        for subject, colors in COLORS.items()
        for color in colors
        for action in FACTS["action"]
    } - held_out()
    for first, second in ((0, 1), (0, 2), (1, 2)):
        left = {(triple[first], triple[second]) for triple in possible}
        assert {(triple[first], triple[second]) for triple in held_out()} <= left
    for pair in PAIRS:
        missing = values(unseen, *pair) - values(seen, *pair)
        assert len(missing) <= 0.02 * len(values(unseen, *pair))


def test_the_folder_comes_back_as_it_was_imagined(folder):
    world = read_scenes(folder)
    assert len(world) == 12
    assert sorted(path.name for path in (folder / "Images").iterdir()) == sorted(world)
    assert all(scene.name == name for name, scene in world.items())
    for scene in world.values():
        assert all(asdict(scene)[fact] in allowed for fact, allowed in FACTS.items())


def test_every_photo_has_five_captions(folder):
    with open(folder / "captions.txt", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image", "caption"]
    assert Counter(name for name, _ in rows[1:]) == dict.fromkeys(read_scenes(folder), 5)


def test_the_splits_are_disjoint_and_complete(folder):
    splits = {split: names(folder, split) for split in ("train", "dev", "test")}
    assert {split: len(members) for split, members in splits.items()} == dict(
        train=6, dev=2, test=4
    )
    assert sorted(sum(splits.values(), [])) == sorted(read_scenes(folder))


def test_half_of_the_test_photos_are_held_out(folder):
    unseen = set(names(folder, "unseen"))
    assert len(unseen) == 2 and unseen < set(names(folder, "test"))
    for name, scene in read_scenes(folder).items():
        assert (scene.triple in held_out()) == (name in unseen)


def test_names_do_not_tell_the_split(folder):
    assert names(folder, "train") != sorted(read_scenes(folder))[:6]


def test_a_finished_folder_is_left_alone(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    write_sample(folder, train=1, validation=1, test=2, progress=False)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_half_written_folder_is_drawn_again(folder, tmp_path, monkeypatch):
    """Killed while the captions were written: nothing of that attempt remains."""

    def killed(*_):
        raise KeyboardInterrupt

    sizes = dict(train=6, validation=2, test=4, seed=5, progress=False)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(scenes, "write_captions", killed)
        write_sample(tmp_path, **sizes | dict(train=9))
    assert not sample_is_complete(tmp_path)
    write_sample(tmp_path, **sizes)
    assert sample_is_complete(tmp_path)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert set(written) == {
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file()
    }
    assert all((tmp_path / path).read_bytes() == (folder / path).read_bytes() for path in written)


def test_importing_is_light():
    """No heavy package, and the picture book stays closed."""
    heavy = {"PIL", "numpy", "tensorflow", "tomllib"}
    code = f"import sys, utils.sample.scenes; print({heavy} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
