"""Cut-out pieces: what the pictures of the sample world are made of, and the brush for them.

`artwork.toml` holds all artwork: colors, landscapes, bodies, poses, and the stickers, each
described by the pieces it is made of. A `Brush` puts a sticker anywhere, in any size, turned or
mirrored. `figures` and `paint` make pictures of them.

A point is a complex number, x + yi with y up: then moving is a sum and turning is a product.
"""

import tomllib
from cmath import rect
from functools import cache
from math import pi, radians
from pathlib import Path
from types import SimpleNamespace

from PIL import ImageDraw

ARTWORK = tomllib.loads(Path(__file__).with_name("artwork.toml").read_text(encoding="utf-8"))
PAINTS, SPRITES = ARTWORK["paints"], ARTWORK["stickers"]
DARK, CREAM = "3a2c36", "fff8e4"
SUPERSAMPLING = 2  # how much finer than its pixels a picture is painted
CIRCLE = [rect(1, 2 * pi * i / 28) for i in range(28)]


def artwork_table(name):
    """A table of the picture book whose rows have columns: `chapter("people")["man"].leg`."""
    return {key: SimpleNamespace(**row) for key, row in ARTWORK[name].items()}


def rgb(color):
    """A color as numbers, whichever way it is written."""
    return tuple(bytes.fromhex(color)) if isinstance(color, str) else color


def mix(first, second, share):
    """A color between two, `share` of the way to the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(rgb(first), rgb(second), strict=True))


@cache
def pieces(name):
    """The pieces of a sticker, if there is one: color, width (0: filled), points."""
    return [read_piece(*line.split()) for line in SPRITES.get(name, "").splitlines()]


def read_piece(kind, color, *numbers):
    """One line of a sticker; the picture book says what its numbers mean."""
    numbers = [float(number) for number in numbers]
    if kind == "oval":
        return color, 0, ellipse(*numbers)
    width = numbers.pop(0) if kind == "line" else 0
    points = [complex(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
    return color, width, rounded(points, 2) if kind == "blob" else points


def ellipse(x, y, wide, high=None, turn=0.0):
    """Points around an ellipse with its two half axes."""
    high, turned = wide if high is None else high, rect(1, radians(turn))
    return [complex(x, y) + turned * complex(wide * p.real, high * p.imag) for p in CIRCLE]


def rounded(points, times):
    """A polygon whose corners are cut, again and again."""
    for _ in range(times):
        sides = zip(points, points[1:] + points[:1], strict=True)
        points = [a + (b - a) * share for a, b in sides for share in (0.25, 0.75)]
    return points


class Brush:
    """Draws on an image, in the coordinates of what is drawn."""

    def __init__(self, image, origin=0j, unit=1 + 0j, flip=1, light=(1, 1, 1)):
        self.image, self.draw = image, ImageDraw.Draw(image, "RGBA")
        self.origin, self.unit, self.flip, self.light = origin, unit, flip, light

    def world(self, point):
        """Where a point of the figure lies in the picture (y still up)."""
        step = self.unit * point
        return self.origin + complex(self.flip * step.real, step.imag)

    def at(self, point, size=1.0, turn=0.0):
        """A brush for a part of the figure."""
        unit = self.unit * rect(size, radians(turn))
        return Brush(self.image, self.world(point), unit, self.flip, self.light)

    def upright(self, spot):
        """A brush at a place in the picture, for what never lies down with the figure."""
        return Brush(self.image, spot, abs(self.unit) + 0j, self.flip, self.light)

    def pixels(self, points):
        """Points of the figure as the image counts them."""
        spots = [self.world(point) * SUPERSAMPLING for point in points]
        return [(spot.real, self.image.height - spot.imag) for spot in spots]

    def ink(self, color):
        """A color in this light; a star says that it shines by itself."""
        if color[0] == "*":
            return rgb(color[1:])
        red, green, blue, *solid = rgb(color)
        lit = zip((red, green, blue), self.light, strict=True)
        return (*(min(255, round(part * light)) for part, light in lit), *solid)

    def shape(self, color, points):
        """A filled polygon."""
        self.draw.polygon(self.pixels(points), fill=self.ink(color))

    def oval(self, color, *numbers):
        """A filled ellipse: its centre, then its half axes."""
        self.shape(color, ellipse(*numbers))

    def line(self, color, width, points):
        """A line with round ends and joints."""
        pixels, width, ink = (
            self.pixels(points),
            width * abs(self.unit) * SUPERSAMPLING,
            self.ink(color),
        )
        self.draw.line(pixels, fill=ink, width=max(1, round(width)), joint="curve")
        if width > 3:
            for x, y in (pixels[0], pixels[-1]):
                r = width / 2 - 0.5
                self.draw.ellipse((x - r, y - r, x + r, y + r), fill=ink)

    def stick(self, name, **colors):
        """A sticker, if there is one of this name, with these colors for the names in it."""
        for color, width, points in pieces(name):
            color = colors.get(color, color)
            if width:
                self.line(color, width, points)
            else:
                self.shape(color, points)
