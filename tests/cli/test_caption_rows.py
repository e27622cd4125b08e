"""Rows of captions are written one by one, and read back from interrupted files."""

import csv
import json

import pytest

from utils.cli.caption_rows import FORMATS, find_output, printable
from utils.errors import CaptionsError

# `alt` needs TensorFlow and is text otherwise.
LIGHT_FORMATS = [name for name in FORMATS if name != "alt"]
PHOTOS = ["a.jpg", "b: c.jpg", "=1+1.jpg", 'with "quotes", ü.jpg', "two\nlines.jpg", "\udcff.jpg"]
ROWS = [
    {"photo": name, "caption": "a dog runs", "probability": 0.25, "confidence": None}
    for name in PHOTOS
]


def write(path, output_format, rows=ROWS):
    """Write or continue a file, and return its content."""
    output = find_output(str(path), output_format)
    with output.open() as writer:
        for row in rows:
            if not output.contains(row["photo"]):
                writer.write(row)
    return path.read_bytes()


def as_written(rows):
    """The rows of a captioner with the keys that they have in JSON."""
    return [{"image" if key == "photo" else key: row[key] for key in row} for row in rows]


@pytest.mark.parametrize("output_format", LIGHT_FORMATS)
def test_file_cut_at_any_byte_is_continued_or_refused(tmp_path, output_format, capsys):
    path = tmp_path / "captions"
    whole = write(path, output_format)
    refused = 0
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        try:
            assert write(path, output_format) == whole
        except CaptionsError:
            refused += 1
            assert path.read_bytes() == whole[:length]
    # Only a part of a first line that could also be a file of something else is refused.
    assert refused <= len(whole.splitlines()[0])
    assert "removed its unfinished last line" in capsys.readouterr().err


@pytest.mark.parametrize("output_format", LIGHT_FORMATS)
def test_photos_in_a_file_are_found(tmp_path, output_format):
    path = tmp_path / "captions"
    write(path, output_format)
    output = find_output(str(path), output_format)
    assert all(output.contains(photo) for photo in PHOTOS)
    assert not output.contains("other.jpg")
    assert not output.contains("b")


def test_json_is_an_array_however_it_ends(tmp_path):
    path = tmp_path / "captions.json"
    write(path, None, [])
    assert json.loads(path.read_text()) == []
    with pytest.raises(KeyboardInterrupt), find_output(str(path), None).open() as writer:
        writer.write(ROWS[0])
        writer.write(ROWS[1])
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == as_written(ROWS[:2])
    write(path, None)
    assert json.loads(path.read_text(encoding="utf-8")) == as_written(ROWS)


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "txt"])
@pytest.mark.parametrize(
    "content",
    [
        b'{"photo":"a","image":"a","caption":"a","probability":1,"confidence":1}\n',
        b"name,price\na,1\n",
        b'{"a":1}\n',
        b"[1, 2]\n",
        b"\x89PNG\r\n\x1a\n",
        b"a list\n",
        b"todo",
    ],
)
def test_file_of_something_else_is_refused_and_kept(tmp_path, suffix, content):
    path = tmp_path / f"captions.{suffix}"
    path.write_bytes(content)
    with pytest.raises(
        CaptionsError, match=f"--output .*{suffix}: was not written by this version of caption"
    ):
        find_output(str(path), None)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("txt", b"todo: buy milk\nlast: line without its end"),
        ("jsonl", b'{"photo": "a.jpg", "title": "A"}\n{"photo": "b.jpg", "ti'),
    ],
)
def test_file_that_only_looks_similar_is_refused_and_kept(tmp_path, suffix, content):
    path = tmp_path / f"notes.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CaptionsError, match="was not written by this version of caption"):
        find_output(str(path), None)
    assert path.read_bytes() == content


def test_json_without_its_end_is_completed_although_no_photo_is_missing(tmp_path):
    path = tmp_path / "captions.json"
    write(path, None)
    whole = path.read_bytes()
    path.write_bytes(whole[:-2])
    find_output(str(path), None).finish()
    assert path.read_bytes() == whole


def test_photo_is_found_by_its_full_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "captions.jsonl"
    write(path, None, [{**ROWS[0], "photo": str(tmp_path / "a.jpg")}])
    output = find_output(str(path), None)
    assert output.contains("a.jpg")
    assert not output.contains("b/a.jpg")


def test_device_is_no_output():
    with pytest.raises(CaptionsError, match="--output /dev/null: is no regular file: name another"):
        find_output("/dev/null", "csv")


def test_format_is_that_of_the_suffix_or_the_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_output(None, None).output_format == "text"
    assert find_output(None, None, alt=True).output_format == "alt"
    assert find_output("a.CSV", None).output_format == "csv"
    assert find_output("a.txt", None, alt=True).output_format == "alt"
    assert find_output("a.ndjson", None, alt=True).output_format == "jsonl"
    assert find_output("a.out", "jsonl").output_format == "jsonl"
    with pytest.raises(CaptionsError, match="--output a.out: its suffix names no format"):
        find_output("a.out", None)
    with pytest.raises(CaptionsError, match="a.html: its suffix names no format"):
        find_output("a.html", None, alt=True)
    with pytest.raises(CaptionsError, match="another format than --json: omit one"):
        find_output("a.csv", "json")


def test_captions_and_alt_text_are_not_mixed_in_a_file(tmp_path):
    path = tmp_path / "captions.txt"
    lines = {"text": "a.jpg: a dog runs\n", "alt": "a.jpg: Possibly a dog runs.\n"}
    fix = {"text": "has alt text: add --alt", "alt": "has captions that .*: omit --alt"}
    for present, text in lines.items():
        path.write_text(text)
        has_alt_text = present == "alt"
        assert find_output(str(path), None, has_alt_text).contains("a.jpg")
        other = "text" if has_alt_text else "alt"
        with pytest.raises(CaptionsError, match=f"captions.txt: {fix[other]}, or name another"):
            find_output(str(path), None, not has_alt_text)
        assert path.read_text() == text


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_rows_with_alt_text_and_rows_without_are_not_mixed(tmp_path, suffix):
    for alt, problem in ((True, "has alt text: add --alt"), (False, "has no alt text: omit --alt")):
        path = tmp_path / f"captions.{suffix}"
        path.unlink(missing_ok=True)
        with find_output(str(path), None, alt).open() as writer:
            for row in ROWS:
                writer.write(row)
        content = path.read_bytes()
        assert all(find_output(str(path), None, alt).contains(name) for name in PHOTOS)
        with pytest.raises(CaptionsError, match=f"{suffix}: {problem}, or name another file"):
            find_output(str(path), None, not alt)
        assert path.read_bytes() == content


def test_alt_text_is_a_column_beside_the_caption(tmp_path):
    path = tmp_path / "captions.csv"
    with find_output(str(path), None, alt=True).open() as writer:
        writer.write(ROWS[0] | {"confidence": 0.3})
        writer.write(ROWS[1] | {"confidence": 0.9})
    with open(path, newline="") as file:
        assert list(csv.DictReader(file)) == [
            {
                "image": "a.jpg",
                "caption": "a dog runs",
                "alt_text": "Possibly a dog runs.",
                "probability": "0.25",
                "confidence": "0.3",
            },
            {
                "image": "b: c.jpg",
                "caption": "a dog runs",
                "alt_text": "A dog runs.",
                "probability": "0.25",
                "confidence": "0.9",
            },
        ]


@pytest.mark.parametrize("output_format", ["json", "jsonl"])
def test_key_of_a_photo_is_the_column_of_csv(tmp_path, output_format):
    path = tmp_path / "captions"
    write(path, output_format, ROWS[:1])
    row = json.loads(path.read_text().strip("[]\n"))
    assert list(row) == ["image", "caption", "probability", "confidence"]
    header = write(tmp_path / "captions.csv", "csv").splitlines()[0]
    assert header.decode() == ",".join(row)


@pytest.mark.parametrize("output_format", ["json", "jsonl"])
def test_file_of_an_earlier_version_keeps_its_key_of_a_photo(tmp_path, output_format):
    path = tmp_path / "captions"
    whole = write(path, output_format)
    former = whole.replace(b'{"image": ', b'{"photo": ')
    for kept in (1, 3):
        write(tmp_path / "part", output_format, ROWS[:kept])
        part = (tmp_path / "part").read_bytes()
        path.write_bytes(part.replace(b'{"image": ', b'{"photo": '))
        assert write(path, output_format) == former


def test_printable_escapes_what_breaks_a_line_or_controls_a_terminal():
    assert printable("a\nb\r\x1b[0m\u2028") == r"a\nb\r\x1b[0m\u2028"
    for text in ("ä ö.jpg", "C:\\new", "写真.jpg", printable("a\nb")):
        assert printable(text) == text
