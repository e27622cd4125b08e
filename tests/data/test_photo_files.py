"""The photos that are shown are those that 01_features has read, wherever these are now."""

import shutil

import pytest
from PIL import Image

from utils.config import Config
from utils.data.photo_files import readable_names, record_files, recorded_paths
from utils.data.photos import find_photos
from utils.errors import CaptionsError

CONFIG = Config("flickr8k")
NAMES = ["summer/1.png", "winter/1.png", "2.png"]


def save_photo(path, width):
    """Write a photo whose width identifies it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, 9)).save(path)


def width_of(path):
    """The width of a photo."""
    with Image.open(path) as image:
        return image.width


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Three photos, two of them with the same file name; the widths are 10, 11 and 12."""
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "working"))
    for width, name in enumerate(NAMES, start=10):
        save_photo(tmp_path / "input" / "photos" / name, width)
    return tmp_path / "input"


@pytest.fixture
def features(inputs):
    """What features.pkl records of these photos."""
    return {"files": record_files({name: inputs / "photos" / name for name in NAMES}, CONFIG)}


def test_recorded_files_are_shown_although_others_of_their_name_lie_nearer(
    inputs, features, tmp_path
):
    for place in (inputs, tmp_path / "working"):
        for name in ("1.png", "2.png"):
            save_photo(place / name, 99)
    paths = recorded_paths(NAMES, features, CONFIG)
    assert paths == [inputs / "photos" / name for name in NAMES]
    assert [width_of(path) for path in paths] == [10, 11, 12]


def test_files_are_found_again_where_inputs_are_mounted_elsewhere(inputs, features, capsys):
    for number, place in enumerate(("a", "b/c")):  # another picture of each name lies nearer
        save_photo(inputs / place / "1.png", 50 + number)
    (inputs / "datasets" / "someone").mkdir(parents=True)
    (inputs / "photos").rename(inputs / "datasets" / "someone" / "photos")
    paths = recorded_paths(NAMES, features, CONFIG)
    assert [width_of(path) for path in paths] == [10, 11, 12]
    assert capsys.readouterr().out == ""


def test_photos_of_one_name_and_one_size_are_told_apart(inputs):
    names = ["summer/3.bmp", "winter/3.bmp"]
    for shade, name in enumerate(names):
        path = inputs / "photos" / name
        Image.new("RGB", (9, 9), (shade, 0, 0)).save(path)
    features = {"files": record_files({name: inputs / "photos" / name for name in names}, CONFIG)}
    (inputs / "photos").rename(inputs / "moved")
    paths = recorded_paths(names, features, CONFIG)
    assert [Image.open(path).getpixel((0, 0))[0] for path in paths] == [0, 1]


def test_missing_photos_are_not_replaced_by_others_of_their_name(inputs, features, capsys):
    (inputs / "photos" / "2.png").unlink()
    save_photo(inputs / "2.png", 99)
    save_photo(inputs / "photos" / "winter" / "1.png", 98)
    paths = recorded_paths(NAMES, features, CONFIG)
    assert paths == [inputs / "photos" / NAMES[0], None, None]
    assert "2 of 3 photos are not where 01_features has read them, e.g. winter/1.png" in (
        capsys.readouterr().out
    )


def test_photos_outside_the_inputs_are_recorded_with_their_full_paths(inputs, tmp_path):
    save_photo(tmp_path / "elsewhere" / "5.png", 5)
    features = {"files": record_files({"5": tmp_path / "elsewhere" / "5.png"}, CONFIG)}
    assert recorded_paths(["5"], features, CONFIG) == [tmp_path / "elsewhere" / "5.png"]


def test_record_does_not_depend_on_where_the_inputs_are(inputs, features, tmp_path, monkeypatch):
    shutil.copytree(inputs, tmp_path / "other")
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "other"))
    paths = {name: tmp_path / "other" / "photos" / name for name in NAMES}
    assert record_files(paths, CONFIG) == features["files"]


def test_features_without_a_record_show_no_photos(inputs, capsys):
    assert recorded_paths(NAMES, {}, CONFIG) == [None] * 3
    assert "3 of 3 photos" in capsys.readouterr().out


def test_sample_is_drawn_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path))
    drawn = []
    monkeypatch.setattr("utils.data.photo_files.write_sample", drawn.append)
    assert recorded_paths(["a.jpg"], {}, Config()) == [tmp_path / "sample" / "Images" / "a.jpg"]
    assert drawn == [tmp_path / "sample"]


def test_readable_names_skip_damaged_photos(inputs):
    rows = "".join(f"{name},a dog\n" for name in NAMES)
    (inputs / "captions.csv").write_text("image,caption\n" + rows)
    photos = find_photos_of(inputs)
    (inputs / "photos" / "2.png").write_bytes(b"damaged")
    assert readable_names(photos, "train", 8) == NAMES[:2]
    assert readable_names(photos, "train", 1) == NAMES[:1]
    for name in NAMES:
        (inputs / "photos" / name).write_bytes(b"damaged")
    with pytest.raises(CaptionsError, match="train split: none of its 3 photos can be read"):
        readable_names(photos, "train", 8)


def find_photos_of(inputs):
    """The photos of a folder, all of them in the training split."""
    save_photo(inputs / "photos" / "9.png", 9)
    with open(inputs / "captions.csv", "a") as lines:
        lines.write("9.png,a cat\n")
    (inputs / "a.trainImages.txt").write_text("\n".join(NAMES))
    (inputs / "a.devImages.txt").write_text("9.png")
    return find_photos(CONFIG)
