"""The photographs inside packages: complete by their rule, with creators and licenses."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.data import open_photos
from utils.data.open_photos import OPEN_PHOTOS, find_open_photos
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

LICENSES = {"CC0", "CC BY 2.0", "public domain", "use and publication permitted"}
# Files with color channels that are no photograph of a scene, or the second one of a scene.
LEFT_OUT = {
    "chessboard_RGB.png",
    "color.png",  # a color wheel
    "horse.png",  # a silhouette
    "ihc.png",  # a stained tissue under a microscope
    "logo.png",
    "logo2.png",
    "Minduka_Present_Blue_Pack.png",  # an icon
    "motorcycle_right.png",
    "multipage_rgb.tif",
    "no_time_for_that_tiny.gif",
    "phantom.png",
}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".bmp", ".webp"}

each_photo = pytest.mark.parametrize("photo", OPEN_PHOTOS, ids=lambda photo: photo.name)


@pytest.fixture
def without_scikit_image(monkeypatch):
    """An environment in which scikit-image is not installed."""

    def find_spec(name):
        return None if name == "skimage" else importlib.util.find_spec(name)

    monkeypatch.setattr(open_photos, "find_spec", find_spec)


def color_images(folder):
    """The names of the image files below a folder whose pixels have colors."""
    names = set()
    for path in folder.rglob("*"):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        try:
            with Image.open(path) as image:
                mode = image.mode
        except Image.UnidentifiedImageError:
            mode = "unknown"
        if mode not in ("1", "L", "I;16"):
            names.add(path.name)
    return names


def test_photographs_are_all_color_images_of_the_packages_except_those_that_the_rule_leaves_out():
    listed = {Path(photo.file).name for photo in OPEN_PHOTOS}
    assert len(listed) == len(OPEN_PHOTOS) == 10
    found = set()
    for photo in OPEN_PHOTOS:
        found |= color_images(photo.path.parent)
    assert found - LEFT_OUT == listed


@each_photo
def test_each_file_is_a_color_photograph(photo):
    with Image.open(photo.path) as image:
        assert image.mode == "RGB"
        assert min(image.size) >= 300
        pixels = np.asarray(image).astype(int)
    differences = pixels.max(axis=2) - pixels.min(axis=2)
    assert differences.mean() > 5  # not gray
    # A photograph has noise; a drawing has few different colors.
    colors = pixels @ [256**2, 256, 1]
    assert len(np.unique(colors)) > 10_000


@each_photo
def test_each_photograph_has_its_creator_license_and_source(photo):
    assert photo.license in LICENSES
    assert photo.title and photo.creator
    assert photo.source.startswith("https://")
    assert photo.credit == f"{photo.title}. {photo.creator}, {photo.license}"


def test_names_are_distinct_and_all_photographs_are_found():
    assert len({photo.name for photo in OPEN_PHOTOS}) == len(OPEN_PHOTOS)
    failures = {}
    assert find_open_photos(failures) == list(OPEN_PHOTOS)
    assert failures == {}


def test_licenses_that_the_packages_state_are_those_listed():
    license_of = {photo.name: photo.license for photo in OPEN_PHOTOS}
    root = Path(importlib.util.find_spec("skimage").submodule_search_locations[0])
    source = (root / "data" / "_fetchers.py").read_text(encoding="utf-8")
    stated = {
        "CC0 by the photographer (Stefan van der Walt)": "chelsea",
        "CC0 by the photographer (Rachel Michetti)": "coffee",
        "Creative Commons CC0 1.0 Universal": "retina",
    }
    for words, name in stated.items():
        assert words in source
        assert license_of[name] == "CC0"
    root = Path(importlib.util.find_spec("sklearn").submodule_search_locations[0])
    readme = (root / "datasets" / "images" / "README.txt").read_text(encoding="utf-8")
    assert "creativecommons.org/licenses/by/2.0/" in readme
    for photo in OPEN_PHOTOS:
        if photo.package == "sklearn":
            assert photo.license == "CC BY 2.0"
            assert photo.source in readme


def test_missing_package_is_reported(without_scikit_image):
    failures = {}
    found = find_open_photos(failures)
    assert [photo.name for photo in found] == ["china", "flower", "grace_hopper"]
    assert len(found) + len(failures) == len(OPEN_PHOTOS)
    for reason in failures.values():
        assert "scikit-image" in reason and "pip install scikit-image" in reason


def test_missing_package_is_an_error_where_no_report_is_asked_for(without_scikit_image):
    with pytest.raises(CaptionsError, match="astronaut.png: the package scikit-image"):
        find_open_photos()


def test_missing_file_of_a_package_is_reported(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = [str(tmp_path)]

    monkeypatch.setattr(open_photos, "find_spec", lambda name: Spec)
    failures = {}
    assert find_open_photos(failures) == []
    assert set(failures) == {photo.name for photo in OPEN_PHOTOS}
    assert "flower.jpg: this file of scikit-learn is missing" in failures["flower"]


@each_photo
def test_each_photograph_is_credited_in_the_notice(photo):
    notice = (REPOSITORY / "NOTICE.md").read_text(encoding="utf-8")
    start = f"| [{photo.title}]({photo.source}) | {photo.creator} | "
    (row,) = [line for line in notice.splitlines() if line.startswith(start)]
    assert photo.license in row
