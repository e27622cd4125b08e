"""Sprites, the parts that the sample's pictures are made of, and a brush that draws them.

`artwork.toml` holds all artwork: colors, landscapes, bodies, poses, and the sprites, each a list of
simple shapes. A `Brush` draws a sprite anywhere, at any size, rotated or mirrored. `figures` and
`painter` compose pictures from them.

A point is a complex number, x + yi with y pointing up, so a translation is a sum, and a rotation
with scaling is a product.
"""

from __future__ import annotations

from cmath import rect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import pi, radians
from types import SimpleNamespace

from PIL import Image, ImageDraw

from utils.sample.artwork import ARTWORK

Color = str | tuple[int, ...]  # hexadecimal, or red, green, blue and, optionally, alpha
Points = list[complex]

COLORS: dict[str, str] = ARTWORK["colors"]
SPRITES: dict[str, str] = ARTWORK["sprites"]
DARK = "3a2c36"
CREAM = "fff8e4"
WHITE = "ffffff"

SUPERSAMPLING = 2  # pictures are drawn this many times larger, then reduced
CIRCLE = [rect(1, 2 * pi * i / 28) for i in range(28)]
THIN_LINE = 3  # in drawn pixels; up to this width the ends are not rounded


@dataclass(frozen=True)
class Shape:
    """One shape of a sprite: a filled polygon, or a line where it has a width."""

    color: str
    points: Points
    line_width: float = 0.0


def artwork_table(name: str) -> dict[str, SimpleNamespace]:
    """Read a table of the artwork whose rows have columns: `table["man"].leg_length`."""
    return {key: SimpleNamespace(**row) for key, row in ARTWORK[name].items()}


def rgb(color: Color) -> tuple[int, ...]:
    """Convert a color to numbers, whichever way it is written."""
    return tuple(bytes.fromhex(color)) if isinstance(color, str) else color


def mix(first: Color, second: Color, share: float) -> tuple[int, ...]:
    """Interpolate between two colors; `share` is the weight of the second."""
    channels = zip(rgb(first), rgb(second), strict=True)
    return tuple(round(start + (end - start) * share) for start, end in channels)


@cache
def sprite_shapes(name: str) -> list[Shape]:
    """Parse a sprite into its shapes, from back to front; none if no sprite has this name."""
    return [parse_shape(line) for line in SPRITES.get(name, "").splitlines()]


def parse_shape(line: str) -> Shape:
    """Parse one line of a sprite; `artwork.toml` describes the format."""
    kind, color, *fields = line.split()
    numbers = [float(field) for field in fields]
    if kind == "oval":
        return Shape(color, ellipse(*numbers))
    line_width = numbers.pop(0) if kind == "line" else 0.0
    points = [complex(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
    if kind == "blob":
        points = round_corners(points, times=2)
    return Shape(color, points, line_width)


def ellipse(
    x: float,
    y: float,
    half_width: float,
    half_height: float | None = None,
    angle: float = 0.0,
) -> Points:
    """Compute points around an ellipse.

    Args:
        x: The x coordinate of the center.
        y: The y coordinate of the center.
        half_width: One half axis.
        half_height: The other half axis; a circle when left out.
        angle: The rotation in degrees, counterclockwise.
    """
    if half_height is None:
        half_height = half_width
    rotation = rect(1, radians(angle))
    center = complex(x, y)
    return [
        center + rotation * complex(half_width * point.real, half_height * point.imag)
        for point in CIRCLE
    ]


def round_corners(points: Points, times: int) -> Points:
    """Cut the corners of a polygon repeatedly (Chaikin's algorithm)."""
    for _ in range(times):
        sides = zip(points, points[1:] + points[:1], strict=True)
        points = [start + (end - start) * share for start, end in sides for share in (0.25, 0.75)]
    return points


class Brush:
    """Draw on an image in a local coordinate system.

    Args:
        image: The image to draw on.
        origin: The local origin in the picture, in pixels from its lower left corner.
        scale: The local x axis in pixels: its length is the scale, its angle the rotation.
        flip: -1 mirrors left and right, 1 does not.
        light: Factors on red, green and blue of all colors.
    """

    def __init__(
        self,
        image: Image.Image,
        origin: complex = 0j,
        scale: complex = 1 + 0j,
        flip: int = 1,
        light: Sequence[float] = (1, 1, 1),
    ) -> None:
        self.image = image
        self.origin = origin
        self.scale = scale
        self.flip = flip
        self.light = light
        self._draw = ImageDraw.Draw(image, "RGBA")

    def to_picture(self, point: complex) -> complex:
        """Convert a local point to picture coordinates (y still pointing up)."""
        offset = self.scale * point
        return self.origin + complex(self.flip * offset.real, offset.imag)

    def at(self, point: complex, size: float = 1.0, angle: float = 0.0) -> Brush:
        """Make a brush whose origin is a local point, scaled and rotated by degrees."""
        scale = self.scale * rect(size, radians(angle))
        return Brush(self.image, self.to_picture(point), scale, self.flip, self.light)

    def upright(self, origin: complex) -> Brush:
        """Make a brush of the same size without rotation, at a point of the picture."""
        return Brush(self.image, origin, abs(self.scale) + 0j, self.flip, self.light)

    def to_pixels(self, points: Iterable[complex]) -> list[tuple[float, float]]:
        """Convert local points to pixel coordinates of the image (y pointing down)."""
        corners = [self.to_picture(point) * SUPERSAMPLING for point in points]
        return [(corner.real, self.image.height - corner.imag) for corner in corners]

    def lit(self, color: Color) -> tuple[int, ...]:
        """Compute a color in this brush's light; one with a star glows and is not changed."""
        if isinstance(color, str) and color.startswith("*"):
            return rgb(color[1:])
        red, green, blue, *alpha = rgb(color)
        channels = zip((red, green, blue), self.light, strict=True)
        return (*(min(255, round(channel * light)) for channel, light in channels), *alpha)

    def polygon(self, color: Color, points: Points) -> None:
        """Draw a filled polygon."""
        self._draw.polygon(self.to_pixels(points), fill=self.lit(color))

    def oval(self, color: Color, *numbers: float) -> None:
        """Draw a filled ellipse; `numbers` are the arguments of `ellipse`."""
        self.polygon(color, ellipse(*numbers))

    def line(self, color: Color, width: float, points: Points) -> None:
        """Draw a line with round ends and joints."""
        pixels = self.to_pixels(points)
        pixel_width = width * abs(self.scale) * SUPERSAMPLING
        fill = self.lit(color)
        self._draw.line(pixels, fill=fill, width=max(1, round(pixel_width)), joint="curve")
        if pixel_width > THIN_LINE:
            radius = pixel_width / 2 - 0.5
            for x, y in (pixels[0], pixels[-1]):
                box = (x - radius, y - radius, x + radius, y + radius)
                self._draw.ellipse(box, fill=fill)

    def sprite(self, name: str, **colors: Color) -> None:
        """Draw the sprite of this name, if there is one.

        Args:
            name: The name of the sprite.
            **colors: Colors for the names that stand for colors in the sprite.
        """
        for shape in sprite_shapes(name):
            color = colors.get(shape.color, shape.color)
            if shape.line_width:
                self.line(color, shape.line_width, shape.points)
            else:
                self.polygon(color, shape.points)
