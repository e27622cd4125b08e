"""From an image file of any kind to the pixels that a CNN is given. Without TensorFlow.

Pillow reads what users have: photos rotated by an EXIF tag, CMYK, palettes, 16 bits, animations.
It releases the interpreter lock, so a few threads that decode keep a CNN busy.
"""

import warnings
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.data.image_formats import find_image_format

# Pillow warns of photos that it reads, such as those with more than 89 megapixels (from twice as
# many on it raises an error) or with damaged EXIF data. What it cannot read is an error.
warnings.filterwarnings("ignore", module=r"PIL\.")

# How a photo becomes a square. It is part of the name of the feature file: another mode gives
# other features.
RESIZE_MODE = "stretch"

# A path, an open Pillow image, an array of 8-bit pixels; or a `Cropped` or `Mirrored` one of these.
Photo = Any


class Cropped(NamedTuple):
    """A part of a photo, for data augmentation."""

    photo: Photo
    box: tuple[float, float, float, float]  # left, top, right and bottom, as fractions of the photo


class Mirrored(NamedTuple):
    """A photo, or a part of one, with a horizontal flip, for data augmentation."""

    photo: Photo


def read_pixels(photo: Photo, image_size: int) -> np.ndarray:
    """The pixels of a photo, stretched to a square, so that nothing at its edges is cropped.

    Args:
        photo: A path, an open Pillow image, an array; or a `Cropped` or `Mirrored` one of these.
        image_size: Pixels per side.

    Returns:
        Values from 0 to 255, `(image_size, image_size, 3)`.
    """
    if isinstance(photo, Mirrored):
        return read_pixels(photo.photo, image_size)[:, ::-1]
    box = (0.0, 0.0, 1.0, 1.0)
    if isinstance(photo, Cropped):
        photo, box = photo
    left, top, right, bottom = box
    image = open_image(photo, round(image_size / min(right - left, bottom - top)))
    width, height = image.size
    pixel_box = (left * width, top * height, right * width, bottom * height)
    square = (image_size, image_size)
    return np.asarray(image.resize(square, Image.Resampling.BILINEAR, pixel_box))


def open_image(photo: Photo, image_size: int) -> Image.Image:
    """A photo in RGB, upright and in its own proportions, at least about `image_size` per side.

    A JPEG much larger than needed is decoded at a half, a quarter or an eighth of its size, which
    changes a pixel by about 1 of 255.
    """
    if isinstance(photo, np.ndarray):
        photo = Image.fromarray(photo)
    is_open = isinstance(photo, Image.Image)
    with nullcontext(photo) if is_open else open_file(photo) as image:
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


def open_file(path: str | Path) -> Image.Image:
    """Open an image file in a format that Pillow knows, or in HEIC.

    Raises:
        UnidentifiedImageError: It is no image, or its format cannot be read here.
    """
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        if not add_heic():
            raise
        return Image.open(path)


@cache
def add_heic() -> bool:
    """Teach Pillow to read HEIC with pillow-heif, and return whether this is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:  # as on Kaggle
        return False
    register_heif_opener()
    return True


def image_error(photo: str | Path) -> str | None:
    """Why a photo cannot be read, in a few words, or None if it can."""
    try:
        read_pixels(photo, 224)
    except UnidentifiedImageError:
        return unidentified_reason(photo)
    except Image.DecompressionBombError:
        return f"more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} megapixels"
    except Exception as error:  # a damaged file can fail in any way
        return getattr(error, "strerror", None) or undecodable_reason(photo, error)
    return None


def unidentified_reason(photo: str | Path) -> str:
    """Why no reader accepts a file: what is missing for its format, or that it is no image."""
    found = find_image_format(photo)
    if found == "HEIC" and not add_heic():
        return "HEIC is not read without the package pillow-heif (pip install pillow-heif)"
    if found == "AVIF" and ".avif" not in Image.registered_extensions():
        return "AVIF is not read by this Pillow (pip install -U pillow)"
    if found:
        return damaged_reason(found)
    return "empty or not an image"


def undecodable_reason(photo: str | Path, error: Exception) -> str:
    """Why Pillow fails to decode a file, in plainer words than its own."""
    found = find_image_format(photo) or "image"
    if "truncated" in str(error).lower():
        return f"truncated {found} (copy the whole file again)"
    return damaged_reason(found)


def damaged_reason(image_format: str) -> str:
    """Why a file in a known format is not read.

    TIFF has many kinds of pixels and compression. Pillow refuses those that it does not know in
    the same way as a damaged file.
    """
    if image_format == "TIFF":
        return "damaged TIFF, or one with an unsupported compression (save it as JPEG or PNG)"
    return f"damaged {image_format}"
