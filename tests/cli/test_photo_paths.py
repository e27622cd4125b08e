"""Photos are found in files, folders and patterns, and what is skipped is said."""

import os

import pytest
from PIL import Image

from utils.cli.photo_paths import collect_photos, report_skipped
from utils.errors import CaptionsError


@pytest.fixture
def album(tmp_path):
    """Photos at two depths, one of them without a suffix, and other files."""
    folder = tmp_path / "album"
    (folder / "2020").mkdir(parents=True)
    for name in ("a.jpg", "2020/b.JPG", "2020/ä ö.jpg"):
        Image.new("RGB", (8, 8)).save(folder / name, "JPEG")
    Image.new("RGB", (8, 8)).save(folder / "scan", "PNG")
    for number in range(50):
        (folder / f"{number}.txt").touch()
    return folder


def test_photos_are_collected_from_files_folders_and_patterns_each_once(album):
    top = [album / "a.jpg", album / "scan"]
    deeper = [album / "2020" / "b.JPG", album / "2020" / "ä ö.jpg"]
    assert collect_photos([str(album)]).paths == [*deeper, *top]
    assert collect_photos([str(top[0]), str(album)]).paths == [top[0], *deeper, top[1]]
    assert collect_photos([str(album / "*")]).paths == [*deeper, *top]
    assert collect_photos([str(album / "**" / "*.[jJ]*")]).paths == [*deeper, top[0]]
    assert collect_photos([str(album / "*" / "*.[jJ]*")]).paths == deeper


def test_unreadable_folders_are_reported(album, monkeypatch, capsys):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("2020"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    selection = collect_photos([str(album)])
    assert selection.paths == [album / "a.jpg", album / "scan"]
    report_skipped(selection)
    assert "cannot be opened (1 folder)" in capsys.readouterr().err


def test_file_that_is_named_is_taken_whatever_it_is(album):
    selection = collect_photos([str(album), str(album / "7.txt")])
    assert selection.paths[-1] == album / "7.txt"
    assert album / "7.txt" not in selection.skipped


def test_skipped_files_are_counted_by_reason_and_kind(album, capsys):
    (album / "logo.svg").write_text("<svg/>")
    (album / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    (album / "Makefile").touch()
    (album / ".thumbnails").mkdir()
    Image.new("RGB", (8, 8)).save(album / ".thumbnails" / "a.jpg")
    (album / "._a.jpg").touch()  # metadata that macOS writes: no file of the user
    report_skipped(collect_photos([str(album)]))
    assert capsys.readouterr().err == (
        "54 files skipped: hidden (1 .jpg), no photos (50 .txt, 1 without suffix, 1 .mp4, 1 .svg)\n"
    )


def test_many_kinds_of_skipped_files_are_one_short_line(album, capsys):
    for number in range(100):
        (album / f"a.{number}").touch()
    report_skipped(collect_photos([str(album)]))
    err = capsys.readouterr().err
    assert err.startswith("150 files skipped: no photos (50 .txt, 1 .0, ")
    assert err.endswith(", others)\n")
    assert len(err) < 200


def test_nothing_is_said_where_nothing_is_skipped(album, capsys):
    report_skipped(collect_photos([str(album / "2020")]))
    assert capsys.readouterr().err == ""


def test_outputs_and_their_records_are_neither_photos_nor_skipped(album):
    for name in ("captions.json", "earlier.csv"):
        (album / name).touch()
        (album / f".{name}.captioner").touch()
    selection = collect_photos([str(album / "2020"), str(album)], exclude=album / "captions.json")
    skipped = {path.name for path in selection.skipped if path.suffix != ".txt"}
    assert skipped == {"earlier.csv"}


def test_file_that_cannot_be_opened_is_skipped_with_that_reason(album, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("utils.cli.photo_paths.find_image_format", refuse)
    selection = collect_photos([str(album)])
    reasons = selection.describe_skipped()
    assert reasons == "51 files skipped: cannot be opened (50 .txt, 1 without suffix)"


def test_folder_without_photos_says_what_it_contains(tmp_path):
    (tmp_path / "a.svg").touch()
    with pytest.raises(
        CaptionsError, match=r"contains no photos \(1 file skipped: no photos \(1 .svg\)\)"
    ):
        collect_photos([str(tmp_path)])
    with pytest.raises(CaptionsError, match="b.jpg: does not exist"):
        collect_photos([str(tmp_path / "b.jpg")])
