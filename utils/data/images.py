"""A picture file of any kind to the pixels that a CNN sees. No TensorFlow.

Pillow reads what people have: turned by a note of the camera, CMYK, palettes, 16 bits, animated.
It lets other threads run meanwhile, so a few of them keep a CNN busy.
"""

from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

RESIZE_MODE = "squeezed"  # how a photo becomes a square: another way makes other features


class Mirrored(NamedTuple):
    """A photo whose left is to be its right."""

    photo: object


def read_pixels(photo, side):
    """Pixels `(side, side, 3)` in 0..255 of a path, an open Pillow image or an array.

    All of a photo is squeezed into the square: what stands at its edges is told of, too. Taught in
    01_features.
    """
    if isinstance(photo, Mirrored):
        return read_pixels(photo.photo, side)[:, ::-1]
    return np.asarray(open_image(photo, side).resize((side, side), Image.Resampling.BILINEAR))


def open_image(photo, side):
    """A photo in color, upright, in its own proportions, at least about `side` pixels each way.

    A JPEG much larger than needed is decoded at a half, a quarter or an eighth of its size, which
    changes a pixel by about 1 of 255.
    """
    photo = Image.fromarray(photo) if isinstance(photo, np.ndarray) else photo
    with nullcontext(photo) if isinstance(photo, Image.Image) else Image.open(photo) as image:
        if image is not photo:  # a draft changes the image itself
            image.draft(None, (2 * side, 2 * side))
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits
            image = image.point(lambda value: value * (1 / 256)).convert("L")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")


def image_error(photo):
    """Why a photo can't be read, in a few words, or None if it can."""
    try:
        read_pixels(photo, 224)
    except UnidentifiedImageError:
        return "empty or not an image"
    except Image.DecompressionBombError:
        return "too many pixels"
    except Exception as error:  # a damaged file can fail in any way
        return getattr(error, "strerror", None) or str(error)
