"""Images are recognized by their first bytes, whatever their names are."""

import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from utils.data.image_formats import find_image_format, recognize_format

register_heif_opener()


@pytest.mark.parametrize(
    "image_format", ["JPEG", "PNG", "GIF", "WebP", "BMP", "TIFF", "AVIF", "HEIF"]
)
def test_image_without_a_suffix_is_recognized(tmp_path, image_format):
    path = tmp_path / "photo"
    Image.new("RGB", (64, 64), "red").save(path, image_format)
    expected = "HEIC" if image_format == "HEIF" else image_format
    assert find_image_format(path) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"BMW and other cars",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"image,caption\n",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",  # a film
    ],
)
def test_other_file_is_no_image(tmp_path, content):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert find_image_format(path) is None


def test_brand_of_the_shared_container_is_decided_by_the_compatible_ones():
    header = b"\0\0\0\x1cftypmif1\0\0\0\0mif1"
    assert recognize_format(header + b"avifmiaf", "") == "AVIF"
    assert recognize_format(header + b"heicmiaf", "") == "HEIC"


def test_raw_file_of_a_camera_is_no_tiff():
    assert recognize_format(b"II*\0\x08\0\0\0", ".nef") is None
    assert recognize_format(b"II*\0\x08\0\0\0", ".tif") == "TIFF"
