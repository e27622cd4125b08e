"""Pictures of every kind become the same pixels; what is none says why."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from utils.data import images
from utils.data.images import Cropped, Mirrored, image_error, open_image, read_pixels
from utils.paths import REPOSITORY

SIDE = 64
RAMP = np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1))
COLORS = np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1)


def difference(path, expected):
    """The mean difference of a file's pixels from those expected, of 255."""
    pixels = read_pixels(path, SIDE)
    assert pixels.shape == (SIDE, SIDE, 3) and pixels.dtype == np.uint8
    return np.abs(pixels.astype(int) - expected).mean()


def test_read_pixels_stretches_the_whole_photo_to_a_square():
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 255  # its middle is white: four tenths of it stay white
    pixels = read_pixels(wide, 20)
    assert (pixels[:, 7:13] == 255).all() and not pixels[:, :5].any() and not pixels[:, 15:].any()


def test_a_cropped_photo_is_the_part_within_its_box(tmp_path):
    photo = np.concatenate([COLORS, COLORS], axis=1)  # twice as wide as high
    Image.fromarray(photo).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", photo):
        crop = Cropped(source, (0.25, 0.25, 0.5, 0.75))
        expected = COLORS[16:48, 32:64]
        np.testing.assert_array_equal(read_pixels(crop, 32), expected)
        np.testing.assert_array_equal(read_pixels(Mirrored(crop), 32), expected[:, ::-1])
        assert read_pixels(crop, 40).shape == (40, 40, 3)


def test_a_crop_of_a_large_jpeg_is_as_sharp_as_the_whole(tmp_path):
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = stripes[:, 2::8] = stripes[:, 3::8] = 255
    Image.fromarray(stripes).save(tmp_path / "a.jpg", quality=95)
    contrast = read_pixels(Cropped(tmp_path / "a.jpg", (0, 0, 0.125, 0.125)), 100).std()
    assert contrast > 100  # it would be 0 in a photo that was decoded at an eighth of its size


def test_open_image_keeps_proportions():
    assert open_image(np.zeros((40, 100, 3), np.uint8), 20).size == (100, 40)


def test_path_image_and_array_give_the_same_pixels(tmp_path):
    image = Image.fromarray(COLORS)
    image.save(tmp_path / "a.png")
    for photo in (tmp_path / "a.png", str(tmp_path / "a.png"), image, COLORS):
        np.testing.assert_array_equal(read_pixels(photo, SIDE), COLORS)


def test_cmyk_and_grayscale_become_rgb(tmp_path):
    Image.fromarray(COLORS).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert difference(tmp_path / "cmyk.jpg", COLORS) < 2
    Image.fromarray(RAMP).save(tmp_path / "gray.jpg", quality=95)
    assert difference(tmp_path / "gray.jpg", RAMP[..., None]) < 2


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff"])
def test_16_bit_images_keep_the_upper_8_bits(tmp_path, name):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / name)
    assert difference(tmp_path / name, RAMP[..., None]) < 1


def test_transparent_pixels_become_white(tmp_path):
    palette = Image.fromarray(COLORS).quantize(16)
    palette.save(tmp_path / "palette.png", transparency=0)
    transparent = np.asarray(palette) == 0
    pixels = read_pixels(tmp_path / "palette.png", SIDE)
    assert transparent.any() and (pixels[transparent] == 255).all()
    assert np.abs(pixels[~transparent].astype(int) - COLORS[~transparent]).mean() < 40


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = {1: COLORS, 2: COLORS[:, ::-1], 3: COLORS[::-1, ::-1], 4: COLORS[::-1]}
    upright |= {5: COLORS.swapaxes(0, 1), 6: np.rot90(COLORS, -1), 8: np.rot90(COLORS)}
    upright[7] = COLORS[::-1, ::-1].swapaxes(0, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLORS).save(tmp_path / "rotated.jpg", exif=exif, quality=95)
    assert difference(tmp_path / "rotated.jpg", upright[orientation]) < 3


def test_damaged_exif_data_is_ignored(tmp_path):
    Image.fromarray(COLORS).save(tmp_path / "odd.jpg", exif=b"Exif\0\0what?", quality=95)
    assert difference(tmp_path / "odd.jpg", COLORS) < 3


def test_animation_gives_its_first_frame(tmp_path):
    first = Image.fromarray(COLORS)
    first.save(tmp_path / "animation.gif", save_all=True, append_images=[first.rotate(90)])
    assert difference(tmp_path / "animation.gif", COLORS) < 10


def test_large_jpeg_decoded_at_an_eighth_is_nearly_the_same(tmp_path):
    rng = np.random.RandomState(0)
    coarse = Image.fromarray(rng.randint(0, 256, (15, 20, 3), np.uint8))
    coarse.resize((2000, 1500), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=90)
    with Image.open(tmp_path / "large.jpg") as image:
        whole = read_pixels(image.copy(), SIDE)  # a copy is decoded already
    assert 0 < difference(tmp_path / "large.jpg", whole) < 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1)])
def test_smallest_images_are_read(shape):
    assert read_pixels(np.zeros((*shape, 3), np.uint8), SIDE).shape == (SIDE, SIDE, 3)


def png(width, height):
    """A PNG file that claims to be that large and holds a few bytes."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", size), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def test_image_error_says_why_a_file_is_unreadable(tmp_path):
    Image.fromarray(COLORS).resize((500, 500)).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    Image.fromarray(COLORS).resize((500, 500)).save(tmp_path / "whole.png")
    whole_png = (tmp_path / "whole.png").read_bytes()
    for name, content, reason in (
        ("empty.jpg", b"", "empty or not an image"),
        ("text.jpg", b"hello " * 99, "empty or not an image"),
        ("cut.jpg", whole[: len(whole) // 2], "truncated JPEG (copy the whole file again)"),
        ("changed.png", whole_png[:60] + bytes(100) + whole_png[160:], "damaged PNG"),
        ("bomb.png", png(30_000, 30_000), "more than 179 megapixels"),
    ):
        (tmp_path / name).write_bytes(content)
        assert image_error(tmp_path / name) == reason
    assert image_error(tmp_path / "missing.jpg") == "No such file or directory"
    assert image_error(tmp_path / "whole.jpg") is None


def test_tiff_of_an_unsupported_kind_is_not_called_damaged_alone(tmp_path):
    path = tmp_path / "photo.tiff"
    Image.fromarray(COLORS).save(path)
    assert image_error(path) is None
    content = path.read_bytes()
    no_compression = struct.pack("<HHIHH", 259, 3, 1, 1, 0)  # the tag Compression
    assert no_compression in content
    for compression in (34712, 52546, 65000):  # JPEG 2000, JPEG XL, none that exists
        other = struct.pack("<HHIHH", 259, 3, 1, compression, 0)
        path.write_bytes(content.replace(no_compression, other))
        assert image_error(path) == (
            "damaged TIFF, or one with an unsupported compression (save it as JPEG or PNG)"
        )


def test_image_of_the_caller_is_not_changed(tmp_path):
    Image.new("RGB", (2000, 1600), "red").save(tmp_path / "large.jpg")
    with Image.open(tmp_path / "large.jpg") as image:
        assert open_image(image, 100).size == (2000, 1600) and image.size == (2000, 1600)
    assert max(open_image(tmp_path / "large.jpg", 100).size) < 2000


@pytest.mark.parametrize("name", ["photo.heic", "photo.avif"])
def test_heic_and_avif_are_read(tmp_path, name):
    images.add_heic()  # which can also write it
    Image.fromarray(COLORS).save(tmp_path / name, quality=95)
    assert difference(tmp_path / name, COLORS) < 4


def test_image_that_no_reader_accepts_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif")
    assert image_error(tmp_path / "a.heic") == "damaged HEIC"
    assert image_error(tmp_path / "a.avif") == "damaged AVIF"
    monkeypatch.setattr(images, "add_heic", lambda: False)
    monkeypatch.setattr(Image, "registered_extensions", dict)
    assert "pip install pillow-heif" in image_error(tmp_path / "a.heic")
    assert "pip install -U pillow" in image_error(tmp_path / "a.avif")


def test_heic_is_not_read_where_pillow_heif_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert not images.add_heic.__wrapped__()


def test_reason_is_one_line(tmp_path):
    images.add_heic()
    Image.fromarray(COLORS).save(tmp_path / "cut.heic")
    content = (tmp_path / "cut.heic").read_bytes()
    (tmp_path / "cut.heic").write_bytes(content[:-20])  # the library's reason ends the line
    assert "\n" not in image_error(tmp_path / "cut.heic")


def test_large_photo_is_read_without_a_warning(tmp_path):
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 9_000)).save(path)  # above the 89 megapixels at which Pillow warns
    code = f"from utils.data.images import image_error; print(image_error({str(path)!r}))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("None\n", "")
