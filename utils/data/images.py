"""From an image file of any kind to the pixels that a CNN is given. Without TensorFlow.

Pillow reads what users have: photos rotated by an EXIF tag, CMYK, palettes, 16 bits, animations.
It releases the interpreter lock, so a few threads that decode keep a CNN busy.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# How a photo becomes a square. It is part of the name of the feature file: another mode gives
# other features.
RESIZE_MODE = "stretch"

Photo = Any  # a path, an open Pillow image, an array of 8-bit pixels, or a `Mirrored` one of these


class Mirrored(NamedTuple):
    """A photo with a horizontal flip, for data augmentation."""

    photo: Photo


def read_pixels(photo: Photo, image_size: int) -> np.ndarray:
    """The pixels of a photo, stretched to a square, so that nothing at its edges is cropped.

    Args:
        photo: A path, an open Pillow image, an array, or a `Mirrored` one of these.
        image_size: Pixels per side.

    Returns:
        Values from 0 to 255, `(image_size, image_size, 3)`.
    """
    if isinstance(photo, Mirrored):
        return read_pixels(photo.photo, image_size)[:, ::-1]
    image = open_image(photo, image_size)
    return np.asarray(image.resize((image_size, image_size), Image.Resampling.BILINEAR))


def open_image(photo: Photo, image_size: int) -> Image.Image:
    """A photo in RGB, upright and in its own proportions, at least about `image_size` per side.

    A JPEG much larger than needed is decoded at a half, a quarter or an eighth of its size, which
    changes a pixel by about 1 of 255.
    """
    if isinstance(photo, np.ndarray):
        photo = Image.fromarray(photo)
    is_open = isinstance(photo, Image.Image)
    with nullcontext(photo) if is_open else Image.open(photo) as image:
        if not is_open:  # `draft` would change the caller's image
            image.draft(None, (2 * image_size, 2 * image_size))
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits
            image = image.point(lambda value: value * (1 / 256)).convert("L")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            background = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(background, image)
        return image.convert("RGB")


def image_error(photo: str | Path) -> str | None:
    """Why a photo cannot be read, in a few words, or None if it can."""
    try:
        read_pixels(photo, 224)
    except UnidentifiedImageError:
        return "empty or not an image"
    except Image.DecompressionBombError:
        return "too many pixels"
    except Exception as error:  # a damaged file can fail in any way
        return getattr(error, "strerror", None) or str(error)
    return None
