"""The pictures: the same every time, whole, and different where the facts are."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from utils.sample.painter import paint
from utils.sample.scenes import ANIMALS, COLORS, FACTS, PEOPLE, USES, Scene, sample_scenes
from utils.sample.sprites import ARTWORK, SPRITES, pieces, rgb

GIRL = Scene("x.jpg", "girl", 1, "red", "standing", "ball", "park", "sunny", "left", 7)


def pixels(scene):
    return np.asarray(paint(scene), np.float32)


def test_size_and_mode():
    picture = paint(GIRL)
    assert picture.size == (224, 224) and picture.mode == "RGB"


def test_the_same_scene_is_the_same_picture():
    assert (pixels(GIRL) == pixels(GIRL)).all()
    assert (pixels(GIRL) == pixels(replace(GIRL, name="y.jpg"))).all()
    assert np.abs(pixels(GIRL) - pixels(replace(GIRL, seed=8))).mean() > 5


@pytest.mark.parametrize("fact", FACTS)
def test_every_fact_is_seen(fact):
    """Any two values of a fact give pictures that differ in more than noise."""
    boring = replace(GIRL, action="sitting", thing="none")
    usable = {
        "thing": ["none", *(thing for thing, (who, _) in USES.items() if "girl" in who)],
        "color": COLORS["girl"],
    }.get(fact, FACTS[fact])
    pictures = [pixels(replace(boring, **{fact: value})) for value in usable]
    for i, first in enumerate(pictures):
        for second in pictures[:i]:
            assert (np.abs(first - second).max(axis=2) > 25).sum() > 80


@pytest.mark.parametrize("subject", PEOPLE + ANIMALS)
def test_each_subject_has_its_poses(subject):
    scene = replace(GIRL, subject=subject, color=COLORS[subject][0], thing="none")
    poses = [pixels(replace(scene, action=action)) for action in FACTS["action"]]
    for i, first in enumerate(poses):
        for second in poses[:i]:
            assert (np.abs(first - second).max(axis=2) > 25).sum() > 200


def test_the_side_is_where_the_group_stands():
    """Weigh what differs from the same landscape with other clothes."""
    for count in (1, 2, 3):
        centres = []
        for side in FACTS["side"]:
            scene = replace(GIRL, thing="none", count=count, side=side)
            clothes = np.abs(pixels(scene) - pixels(replace(scene, color="blue"))).max(axis=2) > 60
            centres.append(np.nonzero(clothes)[1].mean())
        assert centres[0] < 90 < centres[1] < 134 < centres[2]


@pytest.mark.parametrize("color", ["black", "white"])
def test_a_coat_is_seen_everywhere(color):
    """Against each place and sky the animal stands out from what is behind it."""
    for place in FACTS["place"]:
        for sky in FACTS["sky"]:
            scene = replace(GIRL, subject="cat", thing="none", place=place, sky=sky, color=color)
            away = replace(scene, side="right")
            changed = np.abs(pixels(scene) - pixels(away)).max(axis=2)
            assert (changed > 30).sum() > 600


def test_nothing_is_cut_off():
    """The outermost pixels show landscape only: changing the subject does not change them."""
    for scene in sample_scenes(60, seed=2):
        if scene.sky != "rain":
            colors = COLORS[scene.subject]
            other = colors[(colors.index(scene.color) + 1) % len(colors)]
            changed = np.abs(pixels(scene) - pixels(replace(scene, color=other))).max(axis=2)
            changed[2:-2, 2:-2] = 0
            assert changed.max() < 12


def test_the_tallest_figure_fits():
    """A jumping man with a kite, as large as they come, is shrunk and not cut."""
    man = replace(GIRL, subject="man", action="jumping", thing="kite", place="desert")
    for seed in range(30):
        changed = pixels(replace(man, seed=seed)) != pixels(replace(man, seed=seed, color="blue"))
        assert not changed[:2].any() and not changed[-2:].any()


def test_every_sticker_can_be_read():
    for name, lines in SPRITES.items():
        assert pieces(name)
        for line, (_, width, points) in zip(lines.splitlines(), pieces(name), strict=True):
            kind = line.split()[0]
            assert kind in ("oval", "line", "shape", "blob")
            assert len(points) >= (2 if kind == "line" else 3) and (width > 0) == (kind == "line")


def test_the_picture_book_is_found_from_anywhere(tmp_path):
    home = str(Path(__file__).parent.parent)
    code = "import world.paint, utils.sample.caption_writer"
    environment = os.environ | {"PYTHONPATH": home}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_the_picture_book_knows_every_fact():
    assert set(ARTWORK["places"]) == set(FACTS["place"]) and set(ARTWORK["skies"]) == set(
        FACTS["sky"]
    )
    assert set(ARTWORK["people_poses"]) == set(ARTWORK["animal_poses"]) == set(FACTS["action"])
    assert {*ARTWORK["people"], *ARTWORK["animals"]} == set(FACTS["subject"]) < set(SPRITES)
    assert set(ARTWORK["paints"]) == set(FACTS["color"])
    assert set(FACTS["thing"]) - {"none"} < set(SPRITES)


def test_every_color_of_a_sticker_is_one_or_is_filled_in():
    filled = {"night", "cloud", "leaf", "wall", "glass", "toy", "trim"}
    filled |= {"skin", "hair", "cheek", "cloth", "shade"}
    filled |= {"coat", "pale", "nose", "mane", "face"}
    used = {color for name in SPRITES for color, _, _ in pieces(name)}
    assert filled <= used
    assert all(len(rgb(color.removeprefix("*"))) in (3, 4) for color in used - filled)


def test_every_landscape_is_made_of_hills_and_known_stickers():
    for place in ARTWORK["places"].values():
        for what, *measures in place:
            assert what == "hill" or any(name.startswith(what) for name in SPRITES)
            assert len(measures) == (3 if what == "hill" else 5)
