"""Pictures of every kind become the same pixels; what is none says why."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from utils.data.images import image_error, open_image, read_pixels

SIDE = 64
RAMP = np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1))
COLOURS = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1)


def difference(path, expected):
    """The mean difference of a file's pixels from those expected, of 255."""
    pixels = read_pixels(path, SIDE)
    assert pixels.shape == (SIDE, SIDE, 3) and pixels.dtype == np.uint8
    return np.abs(pixels.astype(int) - expected).mean()


def test_all_of_the_picture_is_squeezed_into_the_square():
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 255  # its middle is white: four tenths of it stay white
    pixels = read_pixels(wide, 20)
    assert (pixels[:, 7:13] == 255).all() and not pixels[:, :5].any() and not pixels[:, 15:].any()


def test_for_people_a_photo_keeps_its_proportions():
    assert open_image(np.zeros((40, 100, 3), np.uint8), 20).size == (100, 40)


def test_paths_images_and_arrays_are_the_same(tmp_path):
    image = Image.fromarray(COLOURS)
    image.save(tmp_path / "a.png")
    for photo in (tmp_path / "a.png", str(tmp_path / "a.png"), image, COLOURS):
        np.testing.assert_array_equal(read_pixels(photo, SIDE), COLOURS)


def test_cmyk_and_grey_are_seen_in_colour(tmp_path):
    Image.fromarray(COLOURS).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert difference(tmp_path / "cmyk.jpg", COLOURS) < 2
    Image.fromarray(RAMP).save(tmp_path / "grey.jpg", quality=95)
    assert difference(tmp_path / "grey.jpg", RAMP[..., None]) < 2


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff"])
def test_of_16_bits_the_upper_8_are_seen(tmp_path, name):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / name)
    assert difference(tmp_path / name, RAMP[..., None]) < 1


def test_what_is_transparent_is_white(tmp_path):
    palette = Image.fromarray(COLOURS).quantize(16)
    palette.save(tmp_path / "palette.png", transparency=0)
    glass = np.asarray(palette) == 0
    pixels = read_pixels(tmp_path / "palette.png", SIDE)
    assert glass.any() and (pixels[glass] == 255).all()
    assert np.abs(pixels[~glass].astype(int) - COLOURS[~glass]).mean() < 40


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_camera_s_note_on_which_side_is_up_is_obeyed(tmp_path, turn):
    upright = {1: COLOURS, 2: COLOURS[:, ::-1], 3: COLOURS[::-1, ::-1], 4: COLOURS[::-1]}
    upright |= {5: COLOURS.swapaxes(0, 1), 6: np.rot90(COLOURS, -1), 8: np.rot90(COLOURS)}
    upright[7] = COLOURS[::-1, ::-1].swapaxes(0, 1)
    note = Image.Exif()
    note[0x0112] = turn
    Image.fromarray(COLOURS).save(tmp_path / "turned.jpg", exif=note, quality=95)
    assert difference(tmp_path / "turned.jpg", upright[turn]) < 3


def test_a_damaged_note_is_no_reason_to_refuse_a_photo(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "odd.jpg", exif=b"Exif\0\0what?", quality=95)
    assert difference(tmp_path / "odd.jpg", COLOURS) < 3


def test_of_a_film_the_first_picture_is_seen(tmp_path):
    first = Image.fromarray(COLOURS)
    first.save(tmp_path / "film.gif", save_all=True, append_images=[first.rotate(90)])
    assert difference(tmp_path / "film.gif", COLOURS) < 10


def test_a_large_jpeg_decoded_at_an_eighth_is_nearly_the_same(tmp_path):
    chance = np.random.RandomState(0)
    coarse = Image.fromarray(chance.randint(0, 256, (15, 20, 3), np.uint8))
    coarse.resize((2000, 1500), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=90)
    with Image.open(tmp_path / "large.jpg") as image:
        whole = read_pixels(image.copy(), SIDE)  # a copy is decoded already
    assert 0 < difference(tmp_path / "large.jpg", whole) < 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1)])
def test_the_smallest_pictures_are_pictures(shape):
    assert read_pixels(np.zeros((*shape, 3), np.uint8), SIDE).shape == (SIDE, SIDE, 3)


def png(width, height):
    """A PNG file that claims to be that large and holds a few bytes."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", size), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def test_what_is_no_photo_says_why(tmp_path):
    Image.fromarray(COLOURS).resize((500, 500)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    for name, content, why in (
        ("empty.jpg", b"", "empty or not an image"),
        ("text.jpg", b"hello " * 99, "empty or not an image"),
        ("cut.jpg", whole[: len(whole) // 2], "truncated"),
        ("bomb.png", png(30_000, 30_000), "too many pixels"),
    ):
        (tmp_path / name).write_bytes(content)
        assert why in image_error(tmp_path / name)
    assert image_error(tmp_path / "missing.jpg") == "No such file or directory"
    assert image_error(tmp_path / "whole.jpg") is None


def test_the_callers_own_image_stays_as_it_is(tmp_path):
    Image.new("RGB", (2000, 1600), "red").save(tmp_path / "large.jpg")
    with Image.open(tmp_path / "large.jpg") as image:
        assert open_image(image, 100).size == (2000, 1600) and image.size == (2000, 1600)
    assert max(open_image(tmp_path / "large.jpg", 100).size) < 2000
