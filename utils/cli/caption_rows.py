"""The formats in which `caption` writes its rows, one by one, and how a file is continued.

Every row is a line of its own, written at once, so that an interruption leaves complete rows and
at most one unfinished line. A file in any of the formats can be read back, to find the photos that
are in it.
"""

import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from utils.data.csv_cells import escape_cell, unescape_cell
from utils.data.photos import is_image
from utils.errors import CaptionsError
from utils.io import require_folder

FORMATS = ("text", "alt", "csv", "json", "jsonl")
# The format of a file; `alt` text is text, too.
SUFFIXES = {".txt": "text", ".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
FOOTERS = {"json": "]\n"}
# The key of a photo in JSON is the name of the column in CSV. It was `photo` in earlier versions.
IMAGE_KEY = "image"
FORMER_IMAGE_KEY = "photo"
# The other keys, or columns: without alt text, and with it.
OTHER_KEYS = {
    False: ("caption", "probability", "confidence"),
    True: ("caption", "alt_text", "probability", "confidence"),
}
# Characters that break a line, control a terminal, or are in no encoding.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class RowWriter:
    """Writes captions to a stream, each as soon as it is there."""

    def __init__(self, stream: TextIO, output: "Output"):
        """Continue a stream, which has the rows of the photos of an output already."""
        self.stream = stream
        self.output = output
        self.rows = len(output.photos)

    def write(self, row: dict) -> None:
        """Write one row of a `Captioner`."""
        line = format_row(row, self.output)
        if self.output.output_format == "json" and self.rows:
            line = f",{line}"
        # A file name may have bytes that are no character.
        self.stream.write(line.encode("utf-8", "backslashreplace").decode("utf-8"))
        self.stream.flush()
        self.rows += 1


@dataclass
class Output:
    """Where `caption` writes to.

    Attributes:
        path: The file, or None for stdout.
        output_format: One of `FORMATS`.
        alt_text: Whether the rows have a caption and an alt text; the format `alt` has no caption.
        kept: How many bytes of the file are kept.
        photos: The photos in the file, as `photo_key` gives them.
        unfinished: The last line of the file, if an interruption has cut it.
        image_key: The key of a photo in JSON, which is that of the rows in the file.
    """

    path: Path | None
    output_format: str
    alt_text: bool = False
    kept: int = 0
    photos: set[str] = field(default_factory=set)
    unfinished: str = ""
    image_key: str = IMAGE_KEY

    def contains(self, photo: str | Path) -> bool:
        """Whether a photo is in the file already."""
        return photo_key(str(photo)) in self.photos

    def finish(self) -> None:
        """Complete a file that lacks no photo: an interruption may have cut its end."""
        if self.path is not None:
            with self.open():
                pass

    @contextmanager
    def open(self) -> Iterator[RowWriter]:
        """The writer of rows. Whatever happens, JSON is complete afterwards."""
        if self.path is None:
            yield from self.write_rows(sys.stdout)
            return
        if self.unfinished:
            line = printable(self.unfinished)
            print(f"{self.path}: removed its unfinished last line, {line}", file=sys.stderr)
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            file.truncate(self.kept)
            yield from self.write_rows(file)

    def write_rows(self, stream: TextIO) -> Iterator[RowWriter]:
        """Write the header of the format, yield the writer, then write the footer."""
        if self.kept == 0:
            stream.write(header_of(self.output_format, self.alt_text))
        try:
            yield RowWriter(stream, self)
        finally:
            stream.write(FOOTERS.get(self.output_format, ""))
            stream.flush()


def find_output(path: str | None, option: str | None, alt: bool = False) -> Output:
    """Where `caption` writes to, and what is there already.

    An unfinished last line, which an interruption has left, is not kept, and a line says so.

    Args:
        path: The file, or None for stdout.
        option: The format that an option names, or None.
        alt: Whether alt text is written: in place of the captions in text, else beside them.

    Raises:
        CaptionsError: The format is not clear, the folder does not exist, or the file is not of
            this format.
    """
    output_format = choose_format(path, option, alt)
    alt_text = alt and output_format != "alt"
    if path is None:
        return Output(None, output_format, alt_text)
    require_folder(path, f"--output {path}")
    file = Path(path)
    if not file.exists():
        return Output(file, output_format, alt_text)
    if not file.is_file():
        raise CaptionsError(f"--output {path}: is no regular file: name another one, or omit it")
    content = file.read_bytes()
    rows = complete_lines(content, output_format)
    photos = read_photos(rows, content, output_format, alt_text)
    if photos is None:
        raise unreadable_output(path, rows, content, output_format, alt_text)
    if output_format in ("text", "alt"):
        require_same_texts(path, rows.decode("utf-8"), output_format)
    unfinished = content[len(rows) :].decode("utf-8", "replace")
    kept = len(rows.removesuffix(FOOTERS.get(output_format, "").encode()))
    keys = set(map(photo_key, photos))
    return Output(file, output_format, alt_text, kept, keys, unfinished, find_image_key(rows))


def unreadable_output(
    path: str, rows: bytes, content: bytes, output_format: str, alt_text: bool
) -> CaptionsError:
    """The error about a file that has no rows of the expected kind; arguments as `read_photos`."""
    if read_photos(rows, content, output_format, not alt_text):
        problem, fix = ("has no alt text", "omit") if alt_text else ("has alt text", "add")
        return CaptionsError(f"--output {path}: {problem}: {fix} --alt, or name another file")
    return CaptionsError(
        f"--output {path}: was not written by this version of caption in the format "
        f"{output_format}: name another file"
    )


def photo_key(photo: str) -> str:
    """What identifies a photo in an output: its full path, in one line."""
    return printable(os.path.abspath(photo))


def choose_format(path: str | None, option: str | None, alt: bool = False) -> str:
    """The format that an option names, or else the suffix of the output.

    Returns:
        One of `FORMATS`; `alt` for alt text in place of captions.

    Raises:
        CaptionsError: The two differ, or the suffix is unknown.
    """
    by_suffix = None if path is None else SUFFIXES.get(Path(path).suffix.lower())
    if option and by_suffix and option != by_suffix:
        raise CaptionsError(
            f"--output {path}: its suffix names another format than --{option}: omit one"
        )
    output_format = option or by_suffix
    if output_format is None and path is not None:
        known = ", ".join(SUFFIXES)
        raise CaptionsError(f"--output {path}: its suffix names no format: use one of {known}")
    output_format = output_format or "text"
    return "alt" if alt and output_format == "text" else output_format


# === Write ===


def header_of(output_format: str, alt_text: bool) -> str:
    """The first line of a file."""
    if output_format == "csv":
        return ",".join((IMAGE_KEY, *OTHER_KEYS[alt_text])) + "\n"
    return "[\n" if output_format == "json" else ""


def format_row(row: dict, output: Output) -> str:
    """One row of a `Captioner` as a line."""
    if output.alt_text or output.output_format == "alt":
        from utils.inference import alt_text  # which imports TensorFlow

        row = row | {"alt_text": alt_text(row)}
    keys = OTHER_KEYS[output.alt_text]
    if output.output_format in ("json", "jsonl"):
        values = {output.image_key: row["photo"]} | {key: row[key] for key in keys}
        return json.dumps(values, ensure_ascii=False) + "\n"
    if output.output_format == "csv":
        return csv_line([row["photo"], *(row[key] for key in keys)])
    text = row["alt_text" if output.output_format == "alt" else "caption"]
    return f"{printable(row['photo'])}: {text}\n"


def csv_line(values: list[Any]) -> str:
    """One row of a CSV file that is safe to open in a spreadsheet.

    An unknown confidence, None, is an empty cell.
    """
    line = io.StringIO()
    cells = [escape_cell(value) if isinstance(value, str) else value for value in values]
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def printable(text: str) -> str:
    """A text in one line, with codes such as `\\n` for what cannot be printed."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


# === Read ===


def read_photos(
    rows: bytes, content: bytes, output_format: str, alt_text: bool
) -> list[str] | None:
    """The photos in an earlier output, or None if the file is of another kind.

    Args:
        rows: The complete lines of the file.
        content: The whole file.
        output_format: One of `FORMATS`.
        alt_text: Whether the rows have an alt text beside the caption.
    """
    header = header_of(output_format, alt_text).encode()
    if not rows.startswith(header):
        # Only the beginning of a header may be overwritten, nothing else.
        return [] if header.startswith(content) else None
    if content and not rows:
        return None
    try:
        text = rows[len(header) :].decode("utf-8")
        return PHOTO_READERS[output_format](text, OTHER_KEYS[alt_text])
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error):
        return None


def complete_lines(content: bytes, output_format: str) -> bytes:
    """The beginning of a file up to its last complete row."""
    end = 0
    position = 0
    quotes = 0
    for line in content.splitlines(keepends=True):
        position += len(line)
        quotes += line.count(b'"')
        # In CSV a line break between quotation marks belongs to a cell.
        is_end = output_format != "csv" or quotes % 2 == 0
        if line.endswith(b"\n") and is_end:
            end = position
    return content[:end]


def photos_in_csv(text: str, keys: tuple[str, ...]) -> list[str]:
    """The photos in rows of CSV, with a column for each key beside that of the photo."""
    photos = []
    for photo, *values in csv.reader(io.StringIO(text, newline="")):
        if len(values) != len(keys):
            raise ValueError(f"{photo}: is no row of caption")
        photos.append(unescape_cell(photo))
    return photos


def photos_in_json(text: str, keys: tuple[str, ...]) -> list[str]:
    """The photos in an array with a row in each line."""
    return photos_in_json_lines(text.removesuffix(FOOTERS["json"]).replace("\n,", "\n"), keys)


def photos_in_json_lines(text: str, keys: tuple[str, ...]) -> list[str]:
    """The photos in lines of JSON."""
    photos = []
    for line in text.split("\n"):
        if line:
            row = json.loads(line)
            image_key = FORMER_IMAGE_KEY if FORMER_IMAGE_KEY in row else IMAGE_KEY
            if row.keys() != {image_key, *keys}:
                raise ValueError(f"{line}: is no row of caption")
            photos.append(row[image_key])
    return photos


def photos_in_text(text: str, _keys: tuple[str, ...]) -> list[str]:
    """The photos in lines of `photo: caption`.

    Raises:
        ValueError: A line has no caption, or there is none of these photos: then they are lines of
            something else, which must not be changed.
    """
    photos = []
    for line in text.split("\n"):
        photo, separator, _ = line.rpartition(": ")  # which is in no caption
        if line and not separator:
            raise ValueError(f"{line}: has no caption")
        if line:
            photos.append(photo)
    # The photos need not exist any more.
    if photos and not any(is_image(Path(photo)) or os.path.isfile(photo) for photo in photos):
        raise ValueError(f"{photos[0]}: is no photo")
    return photos


def find_image_key(rows: bytes) -> str:
    """The key of a photo in rows of JSON, which a file that is continued keeps."""
    first_row = rows.removeprefix(header_of("json", False).encode())
    is_former = first_row.startswith(f'{{"{FORMER_IMAGE_KEY}": '.encode())
    return FORMER_IMAGE_KEY if is_former else IMAGE_KEY


def require_same_texts(path: str, text: str, output_format: str) -> None:
    """Refuse to mix captions and alt text in a file, whose lines look alike.

    Only alt text ends with a period: `tokenize` removes punctuation from captions.

    Raises:
        CaptionsError: The file has lines of the other kind.
    """
    for line in text.splitlines():
        if output_format == "text" and line.endswith("."):
            raise CaptionsError(f"--output {path}: has alt text: add --alt, or name another file")
        if output_format == "alt" and not line.endswith("."):
            raise CaptionsError(
                f"--output {path}: has captions that are no alt text: omit --alt, or name another "
                "file"
            )


PHOTO_READERS: dict[str, Callable[[str, tuple[str, ...]], list[str]]] = {
    "text": photos_in_text,
    "alt": photos_in_text,
    "csv": photos_in_csv,
    "json": photos_in_json,
    "jsonl": photos_in_json_lines,
}
