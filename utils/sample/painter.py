"""Draws one scene of the sample world as a page of a picture book, 224 by 224 pixels.

The landscape is a list of ridges and stickers, the group in it comes from `figures`. All is
painted twice as large and then reduced, which smooths the edges. What the facts leave open (sizes,
hills, trees, hair) follows from the seed.
"""

from dataclasses import replace
from math import sin
from random import Random

import numpy as np
from PIL import Image

from utils.sample.figures import draw_figure
from utils.sample.scenes import PEOPLE
from utils.sample.sprites import (
    ARTWORK,
    PAINTS,
    SPRITES,
    SUPERSAMPLING,
    Brush,
    artwork_table,
    mix,
    rgb,
)

SIZE = 224  # pixels of the picture
MARGIN = 120  # room around the picture where a group is laid out before it is moved inside
SKIES = artwork_table("skies")
GRAIN = np.random.default_rng(0).normal(0, 2, (SIZE, SIZE, 1)).round().astype(np.int16)


def paint(scene):
    """The picture of a scene (PIL, 224 by 224, RGB)."""
    random = Random(f"paint {scene.seed}")
    picture = paint_sky(scene.sky, random)
    light = [part * random.uniform(0.95, 1.03) for part in SKIES[scene.sky].light]
    brush = Brush(picture, light=light)
    paint_land(brush, scene, random)
    paint_group(picture, scene, random, light)
    if scene.sky == "rain":
        scatter(brush, random, "streak", 80, 0, 230, 0.7, 1.2)
    if scene.place == "snow" and random.random() < 0.5:
        scatter(brush, random, "snowflake", 50, 0, 224, 0.7, 1.5)
    return speckled(picture.reduce(SUPERSAMPLING), random)


def paint_sky(name, random):
    """The sky and what hangs in it, on a new picture."""
    sky, brush = SKIES[name], Brush(shaded(SKIES[name]))
    x = random.uniform(30, 194)
    if name == "night":
        scatter(brush, random, "star", 45, 110, 222, 0.5, 1.2)
        moon = brush.at(complex(x, random.uniform(180, 198)), 15)
        moon.stick("moon", night=mix(sky.top, sky.middle, 0.3))
    elif name == "sunny":
        brush.at(complex(x, random.uniform(176, 200)), 15).stick("sun")
    elif name == "sunset":
        brush.at(complex(x, 114), 27).stick("sun")
    cloud = mix(sky.middle, "ffffff", sky.cloud)
    for _ in range(6 if name == "rain" else random.randint(1, 3)):
        spot = complex(random.uniform(0, 224), random.uniform(162, 210))
        brush.at(spot, random.uniform(9, 15)).stick("cloud", cloud=cloud)
    return brush.image


def shaded(sky):
    """A new picture, in the colors of the sky from top to bottom."""
    rows = np.linspace(0, 1, SIZE * SUPERSAMPLING)
    channels = zip(rgb(sky.top), rgb(sky.middle), rgb(sky.low), strict=True)
    column = np.stack([np.interp(rows, (0, 0.3, 0.56), channel) for channel in channels], axis=1)
    return Image.fromarray(np.repeat(column.round().astype(np.uint8)[:, None], len(rows), axis=1))


def paint_land(brush, scene, random):
    """The place, and puddles where it rains."""
    glass = "*ffdc82" if scene.sky == "night" else "e2f0f6"
    for what, *measures in ARTWORK["places"][scene.place]:
        if what == "hill":
            paint_hill(brush, random, *measures)
        else:
            scatter(brush, random, what, *measures, glass=glass)
    if scene.sky == "rain" and scene.place != "beach":
        scatter(brush, random, "puddle", 3, 10, 60, 0.7, 1.2)


def paint_hill(brush, random, color, base, height):
    """A ridge across the picture, filled down to the bottom."""
    long, shift = random.uniform(32, 52), random.uniform(0, 7)
    waves = [sin(x / long + shift) + 0.4 * sin(2.3 * x / long) for x in range(-6, 236, 6)]
    ridge = [complex(6 * i - 6, base + height * wave) for i, wave in enumerate(waves)]
    brush.shape(color, [-6 - 6j, *ridge, 236 - 6j])


def scatter(brush, random, name, count, low, high, small, large, **colors):
    """Stickers from left to right, evenly but not exactly; any kind whose name begins so."""
    kinds = [kind for kind in SPRITES if kind.startswith(name)]
    step = SIZE / count
    for i in range(count):
        x = step * (i + 0.5 + (random.uniform(-0.4, 0.4) if name != "house" else 0))
        spot = brush.at(complex(x, random.uniform(low, high)), random.uniform(small, large))
        chance = {part: random.choice(options) for part, options in ARTWORK["chance"].items()}
        spot.stick(random.choice(kinds), **colors, **chance)


def paint_group(picture, scene, random, light):
    """The subjects, their shadows and their thing, all moved inside the picture."""
    layer = Image.new(
        "RGBA", ((SIZE + 2 * MARGIN) * SUPERSAMPLING, (SIZE + MARGIN) * SUPERSAMPLING)
    )
    light = [0.5 + 0.5 * part for part in light]
    flip, size = random.choice((1, -1)), random.uniform(0.9, 1.2)
    if scene.thing != "none":  # whoever holds something out does so towards the middle
        flip = {"left": 1, "right": -1}.get(scene.side, flip)
    size *= (1, 0.87, 0.76 if scene.subject in PEOPLE else 0.66)[scene.count - 1]
    spots = find_spots(scene, random, flip, size)
    toy = toy_colors(scene, random)
    paint_under(layer, scene, spots, size, light, toy)
    for spot in spots:
        one = scene if spot == spots[-1] else replace(scene, thing="none")
        sheet, corner = draw_figure(one, random, size, flip, light, toy)
        corner += spot * SUPERSAMPLING
        layer.alpha_composite(sheet, (round(corner.real), round(layer.height - corner.imag)))
    paste_inside(picture, layer)


def paint_under(layer, scene, spots, size, light, toy):
    """What lies on the ground under a group: its shadows, and the blanket if there is one."""
    if scene.thing == "blanket":
        wide = size * (0.95 + 0.25 * scene.count + 0.25 * (scene.subject == "horse"))
        centre = sum(spots) / len(spots)
        Brush(layer, centre, wide + 0j, light=light).stick("blanket", **toy)
    long = 46 if scene.action == "sleeping" else 26
    for spot in spots:
        Brush(layer, spot, size + 0j).oval("1e1a3250", 0, 0, long, 5)


def paste_inside(picture, layer):
    """What is on the layer, kept off the edges of the picture, and shrunk if it is too wide."""
    left, _, _, floor = box = layer.getbbox()
    crop, room, edge = layer.crop(box), picture.width - 12, 6
    crop.thumbnail((room, room))
    left, top = left - MARGIN * SUPERSAMPLING, floor - crop.height - MARGIN * SUPERSAMPLING
    left = min(max(left, edge), edge + room - crop.width)
    top = min(max(top, edge), edge + room - crop.height)
    picture.paste(crop, (left, top), crop)


def find_spots(scene, random, flip, size):
    """Where the feet are; whoever stands foremost is last and has the thing."""
    lying = scene.action == "sleeping"
    across = 32 if lying else (38 if scene.subject in PEOPLE else 56)
    middle = {"left": 60, "middle": 112, "right": 164}[scene.side] + random.uniform(-6, 6)
    floor = random.uniform(20, 32)
    order = [i - (scene.count - 1) / 2 for i in range(scene.count)]
    back = [(26 if lying else 7) * size * (order[-1] - place) for place in order]
    return [
        complex(MARGIN + middle + place * across * size * flip, floor + up)
        for place, up in zip(order, back, strict=True)
    ]


def toy_colors(scene, random):
    """Two colors for the thing, other ones than the subject's."""
    first, second = random.sample(list(ARTWORK["toys"]), 2)
    name = first if first != scene.color else second
    return dict(toy=PAINTS[name], trim=ARTWORK["toys"][name])


def speckled(picture, random):
    """The picture on grainy paper: one sheet of noise, laid on at random."""
    shift = random.randrange(SIZE), random.randrange(SIZE)
    pixels = np.asarray(picture, np.int16) + np.roll(GRAIN, shift, axis=(0, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
