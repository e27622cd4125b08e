"""Names of photos in captions files, however they are written, lead to the right files."""

from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.data.name_matching import match_listed, match_names


@pytest.fixture
def folder(tmp_path):
    """A function that writes files into a folder: each has its content, or else its own path."""

    def write(*names, **contents):
        for name in (*names, *contents):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(contents.get(name, name))
        return tmp_path

    return write


def match(folder, *names):
    """The matches of names with all files in a folder; paths are relative to it."""
    matches = match_names(names, [path for path in folder.rglob("*") if path.is_file()])
    matches.paths = {name: str(path.relative_to(folder)) for name, path in matches.paths.items()}
    return matches


@pytest.mark.parametrize(
    "name",
    [
        "1.jpg",
        "./1.jpg",
        "../1.jpg",
        "Images/1.jpg",
        "/home/somebody/photos/Images/1.jpg",
        "C:\\Users\\Me\\Images\\1.jpg",
        "Images\\1.jpg",
        "other/1.jpg",
        "https://example.org/photos/1.jpg",
        "https://example.org/photos/1.jpg?width=300#top",
    ],
)
def test_path_of_another_computer_is_found_by_its_last_parts(folder, name):
    matches = match(folder("Images/1.jpg", "Images/2.jpg"), name)
    assert matches.paths == {name: "Images/1.jpg"}
    assert matches.problems == {} and matches.inexact == []


@pytest.mark.parametrize("name", ["A.JPG", "images/a.jpg", "a", "a.png", "C:\\Images\\A", "A.jpeg"])
def test_name_in_another_case_or_with_another_suffix_is_found_and_said(folder, name):
    matches = match(folder("Images/a.jpg", "Images/b.jpg"), name)
    assert matches.paths == {name: "Images/a.jpg"}
    expected = [] if name == "images/a.jpg" else [name]  # its file name is exact
    assert matches.inexact == expected


def test_name_with_dots_has_no_suffix_to_lose(folder):
    matches = match(folder("photo.1.jpg", "photo.2.jpg"), "photo.1", "photo.2")
    assert matches.paths == {"photo.1": "photo.1.jpg", "photo.2": "photo.2.jpg"}


def test_number_is_found_with_zeros_before_it(folder):
    matches = match(folder("000000000042.jpg", "000000000420.jpg", "000.jpg"), "42", "420", "0")
    expected = {"42": "000000000042.jpg", "420": "000000000420.jpg", "0": "000.jpg"}
    assert matches.paths == expected and matches.inexact == list(expected)


def test_path_decides_between_two_photos_of_one_name(folder):
    files = folder("train/1.jpg", "val/1.jpg")
    for train, val in (
        ("train/1.jpg", "val/1.jpg"),
        ("/data/train/1.jpg", "/data/val/1.jpg"),
        ("D:\\train\\1.JPG", "D:\\val\\1.JPG"),
        ("train/1", "val/1"),
    ):
        assert match(files, train, val).paths == {train: "train/1.jpg", val: "val/1.jpg"}


@pytest.mark.parametrize("name", ["1.jpg", "1.JPG", "1", "x/1.jpg"])
def test_different_photos_of_one_name_are_in_doubt(folder, name):
    matches = match(folder("a/1.jpg", "b/1.jpg", "b/2.jpg"), name, "2.jpg")
    assert matches.paths == {"2.jpg": "b/2.jpg"}
    assert "different images have its name" in matches.problems[name]
    assert "a/1.jpg and " in matches.problems[name]


def test_copies_of_one_photo_are_no_doubt(folder):
    matches = match(folder(**{"a/1.jpg": "same", "b/1.jpg": "same"}), "1.jpg", "other")
    assert matches.paths == {"1.jpg": "a/1.jpg"} and matches.problems == {}


def test_shallower_photo_is_meant_unless_only_its_stem_fits(folder):
    files = folder("Images/1.jpg", "Images/small/1.jpg")
    assert match(files, "1.jpg").paths == {"1.jpg": "Images/1.jpg"}
    assert match(files, "1.JPG").paths == {"1.JPG": "Images/1.jpg"}
    assert match(files, "1.png").problems.keys() == {"1.png"}


def test_exact_name_comes_before_another_case_and_suffix(folder):
    files = folder("1.JPG", "1.jpg", "1.png")
    for name in ("1.JPG", "1.jpg", "1.png"):
        assert match(files, name).paths == {name: name}
    assert match(files, "1.Jpg").problems.keys() == {"1.Jpg"}


def test_one_photo_is_not_given_to_two_names(folder):
    files = folder("a/1.jpg")
    matches = match(files, "a/1.jpg", "b/1.jpg")
    assert matches.paths == {"a/1.jpg": "a/1.jpg"}
    assert "is that of a/1.jpg, too" in matches.problems["b/1.jpg"]
    matches = match(files, "x/1.jpg", "y/1.jpg")
    assert matches.paths == {} and matches.problems.keys() == {"x/1.jpg", "y/1.jpg"}
    matches = match(files, "1.jpg", "1.png")
    assert matches.paths == {"1.jpg": "a/1.jpg"} and matches.problems.keys() == {"1.png"}


@pytest.mark.parametrize("name", ["", "/", "..", ".jpg", "2.jpg", "\\"])
def test_name_without_a_file_is_not_found(folder, name):
    matches = match(folder("1.jpg"), name)
    assert matches.paths == {} and matches.problems == {}


PARTS = st.sampled_from(["a", "b", "A", "1", "01", "1.jpg", "1.JPG", "01.png", "a.jpg", "C:", ".."])
PATHS = st.lists(PARTS, min_size=1, max_size=3)
NAMES = PATHS.map("/".join) | PATHS.map("\\".join) | st.text(max_size=5)


@given(st.lists(NAMES, unique=True, max_size=6), st.lists(PATHS, max_size=6, unique_by=tuple))
def test_any_names_get_files_of_their_own_or_a_reason(names, paths):
    files = [Path("/inputs", *parts) for parts in paths]
    with mock.patch("utils.data.name_matching.all_identical", lambda files: len(files) == 1):
        matches = match_names(names, files)
    assert len(set(matches.paths.values())) == len(matches.paths)
    assert set(matches.paths.values()) <= set(files)
    assert not matches.paths.keys() & matches.problems.keys()
    for name in names:
        exact = [path for path in files if str(path).endswith(f"/{name}")]
        if name and len(exact) == 1 and name in matches.paths:
            assert matches.paths[name] == exact[0]


def test_entry_of_a_list_stands_for_one_name_or_none():
    names = ["a/1.jpg", "b/1.jpg", "b/2.jpg", "C:\\x\\3.jpg"]
    found = match_listed(["1.jpg", "a/1", "2", "3.jpg", "4.jpg", "b/2.jpg"], names)
    expected = {"a/1": "a/1.jpg", "2": "b/2.jpg", "3.jpg": "C:\\x\\3.jpg", "b/2.jpg": "b/2.jpg"}
    assert found == expected
