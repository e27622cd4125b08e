"""Pictures are reproducible, complete, and show each fact."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from utils.paths import REPOSITORY
from utils.sample.artwork import ARTWORK
from utils.sample.painter import paint
from utils.sample.scenes import ANIMALS, COLORS, FACTS, PEOPLE, USES, Scene, sample_scenes
from utils.sample.sprites import SPRITES, rgb, sprite_shapes

GIRL = Scene("x.jpg", "girl", 1, "red", "standing", "ball", "park", "sunny", "left", 7)

# Names in sprites that stand for colors which are chosen when the sprite is drawn.
COLOR_NAMES = {
    *("night", "cloud", "leaf", "wall", "glass", "main", "trim"),
    *("skin", "hair", "cheek", "cloth", "shade"),
    *("coat", "pale", "nose", "mane", "face"),
}


def pixels(scene):
    return np.asarray(paint(scene), np.float32)


def max_differences(first, second):
    """The largest difference of the channels at each pixel."""
    return np.abs(first - second).max(axis=2)


def changed_pixels(first, second):
    """The number of pixels that differ in more than noise."""
    return (max_differences(first, second) > 25).sum()


def test_size_and_mode():
    picture = paint(GIRL)
    assert picture.size == (224, 224)
    assert picture.mode == "RGB"


def test_facts_and_seed_determine_the_picture():
    assert (pixels(GIRL) == pixels(GIRL)).all()
    assert (pixels(GIRL) == pixels(replace(GIRL, name="y.jpg"))).all()
    assert np.abs(pixels(GIRL) - pixels(replace(GIRL, seed=8))).mean() > 5


@pytest.mark.parametrize("fact", FACTS)
def test_every_value_of_a_fact_is_visible(fact):
    values = FACTS[fact]
    if fact == "thing":
        values = ["none", *(thing for thing, (subjects, _) in USES.items() if "girl" in subjects)]
    elif fact == "color":
        values = COLORS["girl"]
    scene = replace(GIRL, action="sitting", thing="none")
    pictures = [pixels(replace(scene, **{fact: value})) for value in values]
    for first, second in combinations(pictures, 2):
        assert changed_pixels(first, second) > 80


@pytest.mark.parametrize("subject", PEOPLE + ANIMALS)
def test_every_action_of_a_subject_is_visible(subject):
    scene = replace(GIRL, subject=subject, color=COLORS[subject][0], thing="none")
    pictures = [pixels(replace(scene, action=action)) for action in FACTS["action"]]
    for first, second in combinations(pictures, 2):
        assert changed_pixels(first, second) > 200


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_group_is_at_its_side(count):
    """The pixels that differ when the clothes have another color are those of the group."""
    centers = []
    for side in FACTS["side"]:
        scene = replace(GIRL, thing="none", count=count, side=side)
        clothes = max_differences(pixels(scene), pixels(replace(scene, color="blue"))) > 60
        centers.append(np.nonzero(clothes)[1].mean())
    left, middle, right = centers
    assert left < 90 < middle < 134 < right


@pytest.mark.parametrize("color", ["black", "white"])
def test_an_animal_stands_out_from_every_background(color):
    for place in FACTS["place"]:
        for sky in FACTS["sky"]:
            scene = replace(GIRL, subject="cat", thing="none", place=place, sky=sky, color=color)
            moved = replace(scene, side="right")
            assert (max_differences(pixels(scene), pixels(moved)) > 30).sum() > 600


def test_subjects_do_not_touch_the_edges():
    """Changing the subject's color does not change the outermost pixels."""
    for scene in sample_scenes(60, seed=2):
        if scene.sky == "rain":
            continue
        colors = COLORS[scene.subject]
        other_color = colors[(colors.index(scene.color) + 1) % len(colors)]
        changed = max_differences(pixels(scene), pixels(replace(scene, color=other_color)))
        changed[2:-2, 2:-2] = 0
        assert changed.max() < 12


def test_the_tallest_figure_is_reduced_to_fit():
    scene = replace(GIRL, subject="man", action="jumping", thing="kite", place="desert")
    for seed in range(30):
        first = pixels(replace(scene, seed=seed))
        second = pixels(replace(scene, seed=seed, color="blue"))
        changed = first != second
        assert not changed[:2].any()
        assert not changed[-2:].any()


def test_every_sprite_can_be_parsed():
    for name, text in SPRITES.items():
        lines = text.splitlines()
        assert lines
        for line, shape in zip(lines, sprite_shapes(name), strict=True):
            kind = line.split()[0]
            assert kind in ("oval", "line", "shape", "blob")
            assert len(shape.points) >= (2 if kind == "line" else 3)
            assert (shape.line_width > 0) == (kind == "line")


def test_artwork_is_found_from_any_folder(tmp_path):
    code = "import utils.sample.painter, utils.sample.caption_writer"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_artwork_covers_every_value():
    assert set(ARTWORK["places"]) == set(FACTS["place"])
    assert set(ARTWORK["skies"]) == set(FACTS["sky"])
    assert set(ARTWORK["people_poses"]) == set(FACTS["action"])
    assert set(ARTWORK["animal_poses"]) == set(FACTS["action"])
    assert {*ARTWORK["people"], *ARTWORK["animals"]} == set(FACTS["subject"])
    assert set(FACTS["subject"]) < set(SPRITES)
    assert set(ARTWORK["colors"]) == set(FACTS["color"])
    assert set(FACTS["thing"]) - {"none"} < set(SPRITES)


def test_every_color_of_a_sprite_is_valid():
    used = {shape.color for name in SPRITES for shape in sprite_shapes(name)}
    assert used >= COLOR_NAMES
    for color in used - COLOR_NAMES:
        assert len(rgb(color.removeprefix("*"))) in (3, 4)


def test_every_landscape_consists_of_hills_and_known_sprites():
    for place in ARTWORK["places"].values():
        for name, *measures in place:
            if name == "hill":
                assert len(measures) == 3
            else:
                assert len(measures) == 5
                assert any(sprite.startswith(name) for sprite in SPRITES)
