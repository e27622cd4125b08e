"""Sampled scenes are varied, reproducible, and respect the held-out combinations."""

import subprocess
import sys
from collections import Counter
from itertools import combinations, product

import pytest

from utils.sample.scenes import COLORS, FACTS, USES, held_out_combinations, sample_scenes

COMBINED_FACTS = ("subject", "color", "action")
ALL_COMBINATIONS = {
    (subject, color, action)
    for subject, colors in COLORS.items()
    for color, action in product(colors, FACTS["action"])
}


def fact_values(scenes, *facts):
    """The combinations of values that these facts have in the scenes."""
    return {tuple(getattr(scene, fact) for fact in facts) for scene in scenes}


def run_python(code):
    """What a Python program prints in a process of its own."""
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return finished.stdout.strip()


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(3000, seed=1)


def test_each_fact_has_enough_values():
    min_values = dict(subject=8, count=3, color=8, action=6, thing=9, place=6, sky=4, side=3)
    assert list(FACTS) == list(min_values)
    for fact, minimum in min_values.items():
        assert len(set(FACTS[fact])) >= minimum


def test_exactly_the_listed_values_occur(scenes):
    for fact, allowed in FACTS.items():
        assert {value for (value,) in fact_values(scenes, fact)} == set(allowed)


def test_scenes_make_sense(scenes):
    for scene in scenes:
        assert scene.color in COLORS[scene.subject]
        assert not (scene.sky == "rain" and scene.place == "snow")
        if scene.thing != "none":
            subjects, actions = USES[scene.thing]
            assert scene.subject in subjects
            assert scene.action in actions


def test_most_scenes_have_a_thing_and_a_single_subject(scenes):
    thing_share = sum(scene.thing != "none" for scene in scenes) / len(scenes)
    counts = Counter(scene.count for scene in scenes)
    assert 0.55 < thing_share < 0.75
    assert counts[1] > counts[2] > counts[3] > 0.1 * len(scenes)


def test_the_seed_determines_the_scenes():
    assert sample_scenes(50, seed=3) == sample_scenes(50, seed=3)
    assert sample_scenes(50, seed=3) != sample_scenes(50, seed=4)
    assert sample_scenes(80, seed=3)[:50] == sample_scenes(50, seed=3)


def test_held_out_combinations_are_the_same_in_another_process():
    """There strings have other hash values."""
    code = (
        "from utils.sample.scenes import held_out_combinations; "
        "print(sorted(held_out_combinations()))"
    )
    assert run_python(code) == str(sorted(held_out_combinations()))
    assert 0.10 < len(held_out_combinations()) / len(ALL_COMBINATIONS) < 0.14


def test_seen_and_unseen_combinations_are_disjoint(scenes):
    unseen = sample_scenes(500, seed=1, unseen=True)
    assert not held_out_combinations() & {scene.combination for scene in scenes}
    assert {scene.combination for scene in unseen} <= held_out_combinations()


def test_each_value_and_pair_of_an_unseen_combination_is_seen_in_training():
    """The 900 training scenes already show them."""
    seen = sample_scenes(900, seed=8)
    unseen = sample_scenes(500, seed=8, unseen=True)
    for fact in FACTS:
        assert fact_values(unseen, fact) <= fact_values(seen, fact)
    for pair in combinations(COMBINED_FACTS, 2):
        missing = fact_values(unseen, *pair) - fact_values(seen, *pair)
        assert len(missing) <= 0.02 * len(fact_values(unseen, *pair))


def test_each_pair_of_a_held_out_combination_is_in_another_combination():
    remaining = ALL_COMBINATIONS - held_out_combinations()
    for first, second in combinations(range(3), 2):
        remaining_pairs = {(parts[first], parts[second]) for parts in remaining}
        for parts in held_out_combinations():
            assert (parts[first], parts[second]) in remaining_pairs


def test_importing_scenes_loads_no_heavy_package_and_no_artwork():
    heavy = {"PIL", "numpy", "tensorflow", "tomllib"}
    code = f"import sys, utils.sample.scenes; print({heavy} & set(sys.modules))"
    assert run_python(code) == "set()"
