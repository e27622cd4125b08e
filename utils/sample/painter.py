"""Draw a scene as a cartoon picture of 224 by 224 pixels.

The landscape is a list of hills and sprites, the subjects in it come from `figures`. Everything is
drawn twice as large and then reduced, which smooths the edges. What the facts leave open (sizes,
hills, trees, hair) follows from the scene's seed.

The order of the random draws decides the pictures, so it must not change.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import sin
from random import Random
from types import SimpleNamespace

import numpy as np
from PIL import Image

from utils.sample.artwork import ARTWORK
from utils.sample.figures import Colors, Group, draw_figure
from utils.sample.scenes import PEOPLE, Scene
from utils.sample.sprites import (
    COLORS,
    SPRITES,
    SUPERSAMPLING,
    WHITE,
    Brush,
    Color,
    artwork_table,
    mix,
    rgb,
)

IMAGE_SIZE = 224  # pixels
LAYER_MARGIN = 120  # around the picture, where a group is drawn before it is moved inside
EDGE = 6  # drawn pixels at each edge of the picture that a group keeps free
SKIES = artwork_table("skies")
SKY_ROWS = (0, 0.3, 0.56)  # where the three colors of a sky are, from the top (0) to the bottom (1)
NOISE = np.random.default_rng(0).normal(0, 2, (IMAGE_SIZE, IMAGE_SIZE, 1)).round().astype(np.int16)

COUNT_SCALES = {1: 1, 2: 0.87, 3: 0.76}  # several people are drawn smaller, ...
ANIMAL_COUNT_SCALES = {1: 1, 2: 0.87, 3: 0.66}  # ... and animals, which are longer
SIDE_CENTERS = {"left": 60, "middle": 112, "right": 164}


def paint(scene: Scene) -> Image.Image:
    """Draw the picture of a scene.

    Returns:
        An RGB image of 224 by 224 pixels, which depends on the facts and the seed only.
    """
    # This text is part of the seed, so it decides the picture: keep it.
    rng = Random(f"paint {scene.seed}")
    picture = paint_sky(scene.sky, rng)
    light = [channel * rng.uniform(0.95, 1.03) for channel in SKIES[scene.sky].light]
    brush = Brush(picture, light=light)
    paint_landscape(brush, scene, rng)
    paint_group(picture, scene, rng, light)
    if scene.sky == "rain":
        scatter(brush, rng, "streak", [80, 0, 230, 0.7, 1.2])
    if scene.place == "snow" and rng.random() < 0.5:
        scatter(brush, rng, "snowflake", [50, 0, 224, 0.7, 1.5])
    return add_noise(picture.reduce(SUPERSAMPLING), rng)


# === Sky and landscape ===


def paint_sky(name: str, rng: Random) -> Image.Image:
    """Draw the sky with sun, moon, stars and clouds on a new picture."""
    sky = SKIES[name]
    picture = sky_gradient(sky)
    brush = Brush(picture)
    x = rng.uniform(30, 194)
    if name == "night":
        scatter(brush, rng, "star", [45, 110, 222, 0.5, 1.2])
        moon_center = complex(x, rng.uniform(180, 198))
        brush.at(moon_center, 15).sprite("moon", night=mix(sky.top, sky.middle, 0.3))
    elif name == "sunny":
        sun_center = complex(x, rng.uniform(176, 200))
        brush.at(sun_center, 15).sprite("sun")
    elif name == "sunset":
        brush.at(complex(x, 114), 27).sprite("sun")
    cloud_color = mix(sky.middle, WHITE, sky.cloud_whiteness)
    cloud_count = 6 if name == "rain" else rng.randint(1, 3)
    for _ in range(cloud_count):
        cloud_center = complex(rng.uniform(0, IMAGE_SIZE), rng.uniform(162, 210))
        brush.at(cloud_center, rng.uniform(9, 15)).sprite("cloud", cloud=cloud_color)
    return picture


def sky_gradient(sky: SimpleNamespace) -> Image.Image:
    """Make a new picture in the colors of the sky, from top to bottom."""
    side = IMAGE_SIZE * SUPERSAMPLING
    rows = np.linspace(0, 1, side)
    channels = zip(rgb(sky.top), rgb(sky.middle), rgb(sky.horizon), strict=True)
    column = np.stack([np.interp(rows, SKY_ROWS, channel) for channel in channels], axis=1)
    pixels = column.round().astype(np.uint8)[:, None]
    return Image.fromarray(np.repeat(pixels, side, axis=1))


def paint_landscape(brush: Brush, scene: Scene, rng: Random) -> None:
    """Draw the place, with puddles where it rains."""
    glass = "*ffdc82" if scene.sky == "night" else "e2f0f6"  # windows are lit at night
    for name, *measures in ARTWORK["places"][scene.place]:
        if name == "hill":
            paint_hill(brush, rng, *measures)
        else:
            scatter(brush, rng, name, measures, glass=glass)
    if scene.sky == "rain" and scene.place != "beach":
        scatter(brush, rng, "puddle", [3, 10, 60, 0.7, 1.2])


def paint_hill(brush: Brush, rng: Random, color: Color, base: float, height: float) -> None:
    """Draw a wavy ridge across the picture, filled down to the bottom."""
    wavelength = rng.uniform(32, 52)
    phase = rng.uniform(0, 7)
    left, right, step = -6, 236, 6
    ridge = []
    for x in range(left, right, step):
        wave = sin(x / wavelength + phase) + 0.4 * sin(2.3 * x / wavelength)
        ridge.append(complex(x, base + height * wave))
    brush.polygon(color, [left - 6j, *ridge, right - 6j])


def scatter(
    brush: Brush, rng: Random, name: str, measures: Sequence[float], **colors: Color
) -> None:
    """Draw sprites from left to right, evenly spaced with some randomness.

    Args:
        brush: A brush whose coordinates are those of the picture.
        rng: The random generator.
        name: How the names of the sprites begin: "tree" may draw a "tree tall".
        measures: How many, the lowest and highest y, the smallest and largest size.
        **colors: Colors for the names that stand for colors in the sprites.
    """
    count, lowest, highest, smallest, largest = measures
    variants = [sprite for sprite in SPRITES if sprite.startswith(name)]
    step = IMAGE_SIZE / count
    for i in range(int(count)):
        jitter = rng.uniform(-0.4, 0.4) if name != "house" else 0
        center = complex(step * (i + 0.5 + jitter), rng.uniform(lowest, highest))
        size = rng.uniform(smallest, largest)
        random_colors = {
            color_name: rng.choice(options)
            for color_name, options in ARTWORK["random_colors"].items()
        }
        brush.at(center, size).sprite(rng.choice(variants), **colors, **random_colors)


# === The subjects ===


def paint_group(picture: Image.Image, scene: Scene, rng: Random, light: Sequence[float]) -> None:
    """Draw the subjects, their shadows and their thing, all moved inside the picture."""
    layer_width = (IMAGE_SIZE + 2 * LAYER_MARGIN) * SUPERSAMPLING
    layer_height = (IMAGE_SIZE + LAYER_MARGIN) * SUPERSAMPLING
    layer = Image.new("RGBA", (layer_width, layer_height))
    group = sample_group(scene, rng, light)
    feet = place_feet(scene, rng, group)
    group = replace(group, thing_colors=choose_thing_colors(scene, rng))
    paint_ground(layer, scene, feet, group)
    for position in feet:
        is_foremost = position == feet[-1]
        subject = scene if is_foremost else replace(scene, thing="none")
        figure, corner = draw_figure(subject, rng, group)
        corner += position * SUPERSAMPLING
        layer.alpha_composite(figure, (round(corner.real), round(layer.height - corner.imag)))
    paste_inside(picture, layer)


def sample_group(scene: Scene, rng: Random, light: Sequence[float]) -> Group:
    """Choose the direction and the size of the figures; their thing has no colors yet."""
    flip = rng.choice((1, -1))
    size = rng.uniform(0.9, 1.2)
    if scene.thing != "none":  # a thing is held towards the center of the picture
        flip = {"left": 1, "right": -1}.get(scene.side, flip)
    scales = COUNT_SCALES if scene.subject in PEOPLE else ANIMAL_COUNT_SCALES
    figure_light = [0.5 + 0.5 * channel for channel in light]
    return Group(size * scales[scene.count], flip, figure_light, thing_colors={})


def place_feet(scene: Scene, rng: Random, group: Group) -> list[complex]:
    """Place the subjects side by side on the layer; the last one is foremost and has the thing."""
    is_lying = scene.action == "sleeping"
    spacing = 38 if scene.subject in PEOPLE else 56
    if is_lying:
        spacing = 32
    center = SIDE_CENTERS[scene.side] + rng.uniform(-6, 6)
    ground = rng.uniform(20, 32)
    depth_step = 26 if is_lying else 7  # how much further back each earlier subject stands
    offsets = [i - (scene.count - 1) / 2 for i in range(scene.count)]
    feet = []
    for offset in offsets:
        x = LAYER_MARGIN + center + offset * spacing * group.size * group.flip
        y = ground + depth_step * group.size * (offsets[-1] - offset)
        feet.append(complex(x, y))
    return feet


def choose_thing_colors(scene: Scene, rng: Random) -> Colors:
    """Choose the main color of the thing, another one than the subject's, and what goes with it."""
    first, second = rng.sample(list(ARTWORK["thing_colors"]), 2)
    name = first if first != scene.color else second
    return {"main": COLORS[name], "trim": ARTWORK["thing_colors"][name]}


def paint_ground(layer: Image.Image, scene: Scene, feet: Sequence[complex], group: Group) -> None:
    """Draw what lies on the ground under a group: the blanket if there is one, and shadows."""
    if scene.thing == "blanket":
        width = 0.95 + 0.25 * scene.count + 0.25 * (scene.subject == "horse")
        center = sum(feet) / len(feet)
        blanket_brush = Brush(layer, center, group.size * width + 0j, light=group.light)
        blanket_brush.sprite("blanket", **group.thing_colors)
    shadow_half_width = 46 if scene.action == "sleeping" else 26
    for position in feet:
        shadow_brush = Brush(layer, position, group.size + 0j)
        shadow_brush.oval("1e1a3250", 0, 0, shadow_half_width, 5)


def paste_inside(picture: Image.Image, layer: Image.Image) -> None:
    """Paste the content of a layer, away from the edges, and reduced if it is too large."""
    box = layer.getbbox()
    layer_left, _, _, layer_bottom = box
    content = layer.crop(box)
    available = picture.width - 2 * EDGE
    content.thumbnail((available, available))
    left = layer_left - LAYER_MARGIN * SUPERSAMPLING
    top = layer_bottom - content.height - LAYER_MARGIN * SUPERSAMPLING
    left = min(max(left, EDGE), EDGE + available - content.width)
    top = min(max(top, EDGE), EDGE + available - content.height)
    picture.paste(content, (left, top), content)


def add_noise(picture: Image.Image, rng: Random) -> Image.Image:
    """Add a fixed pattern of noise at a random offset, like grainy paper."""
    offset = (rng.randrange(IMAGE_SIZE), rng.randrange(IMAGE_SIZE))
    pixels = np.asarray(picture, np.int16) + np.roll(NOISE, offset, axis=(0, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
