"""The formats of captions files: recognize one by its first bytes, and read its rows.

Tables (`caption_tables`), the authors' `.token` files, and JSON (`caption_json`).
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from utils.data.caption_json import parse_json, parse_json_lines, read_json
from utils.data.caption_tables import (
    DELIMITERS,
    Row,
    find_columns,
    find_delimiter,
    is_generated,
    lacks_named,
    read_first_line,
    read_header,
    read_table,
    skip_preamble,
)
from utils.data.name_matching import IMAGE_SUFFIX
from utils.errors import CaptionsError, program_name

# What is read of a file to recognize its format, at its beginning and at its end.
SAMPLE_BYTES = 1 << 16
LINES_SUFFIXES = (".jsonl", ".ndjson")
JSON_SUFFIXES = (".json", *LINES_SUFFIXES)

GUESSED_ENCODING = "cp1252"  # of files that are neither UTF-8 nor UTF-16

COCO = "COCO JSON"
KARPATHY = "Karpathy's JSON"
TOKEN = "token file"
CAPTIONS_BY_NAME = "JSON of captions by name"
JSON_ROWS = "JSON rows"
GENERATED = "has captions that a captioner has generated"

TOKEN_LINE = r"[^\t\n]+#\d+\t"
JSON_KEY = r'"((?:[^"\\]|\\.){1,60})"\s*:'
CAPTIONS_OF_NAME = rf'\s*\{{\s*"[^"]+{IMAGE_SUFFIX}"\s*:\s*(?:\[\s*)?"'

# What reading a file of another format than expected can raise.
STRUCTURE_ERRORS = (LookupError, TypeError, AttributeError)


# === Recognize ===


def recognize(path: Path, named: Mapping[str, str] | None = None) -> str | None:
    """The format of a captions file, or None for any other file; only its ends are read.

    A file without permission to read it is none: `why_unrecognized` says so where there is no
    other. Any other error is raised, as a file that vanishes now may be part of the data.

    Args:
        path: The file.
        named: The names of columns that the user has given, by role.
    """
    try:
        head, tail = read_ends(path)
    except PermissionError:
        return None
    if path.suffix.lower() in JSON_SUFFIXES:
        return recognize_json(head, tail, named or {})
    return recognize_table(head, named or {})


def read_ends(path: Path) -> tuple[str, str]:
    """The beginning of a file as text, and of JSON, whose keys may come late, also the end."""
    with open(path, "rb") as file:
        head = file.read(SAMPLE_BYTES)
        tail = b""
        if path.suffix.lower() in JSON_SUFFIXES:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(len(head), size - SAMPLE_BYTES) // 4 * 4)  # where a character begins
            tail = file.read(SAMPLE_BYTES)
    encoding = detect_encoding(head)
    return head.decode(encoding, errors="replace"), tail.decode(encoding, errors="replace")


def recognize_table(text: str, named: Mapping[str, str]) -> str | None:
    """The format of a table or a `.token` file from its beginning."""
    first_line = read_first_line(skip_preamble(text))
    if re.match(TOKEN_LINE, first_line):
        return TOKEN
    header = read_fields(first_line)
    if find_columns(header, named) is None or (is_generated(header) and not named):
        return None
    return DELIMITERS[find_delimiter(first_line)]


def read_fields(first_line: str) -> list[str]:
    """The names of the columns of a table; empty if the line is that of no table."""
    try:
        return read_header(first_line)
    except csv.Error:
        return []


def recognize_json(head: str, tail: str, named: Mapping[str, str]) -> str | None:
    """The format of a JSON file from its beginning and its end."""
    if re.match(CAPTIONS_OF_NAME, head):
        return CAPTIONS_BY_NAME
    keys = list(dict.fromkeys(re.findall(JSON_KEY, head + tail)))
    if re.match(r"\s*\{", head) and not is_json_lines(head):
        if "images" in keys and "sentences" in keys:
            return KARPATHY
        if "caption" in keys and "image_id" in keys and "file_name" in keys:
            return COCO
        return None
    if find_columns(keys, named) is None or (is_generated(keys) and not named):
        return None
    return JSON_ROWS


def why_unrecognized(path: Path, named: Mapping[str, str] | None = None) -> str:
    """What a file is that `recognize` finds no captions in, for the user; arguments as there."""
    try:
        text, _ = read_ends(path)
    except OSError as error:
        return f"could not be read ({error.strerror})"
    if not text.strip():
        return "is empty"
    is_json = path.suffix.lower() in JSON_SUFFIXES
    first_line = read_first_line(skip_preamble(text))
    columns = re.findall(JSON_KEY, text) if is_json else read_fields(first_line)
    if named:
        return lacks_named(list(dict.fromkeys(columns)), named)
    if is_json:
        return GENERATED if is_generated(columns) else "is JSON of another kind"
    if find_columns(columns, {}):
        return GENERATED
    return f"begins with '{first_line[:40]}', which names no columns of images and captions"


def is_json_lines(head: str) -> bool:
    """Whether the first line of a text is an object of its own."""
    first_line = head.lstrip().partition("\n")[0]
    try:
        data = json.loads(first_line)
    except (ValueError, RecursionError):
        return False
    return "annotations" not in data and "images" not in data


# === Read ===


def read_rows(
    file: Path, named: Mapping[str, str] | None = None, notes: list[str] | None = None
) -> list[Row]:
    """The rows of a captions file in any of the formats.

    Args:
        file: The file.
        named: The names of columns that the user has given, by role.
        notes: Gets a line for the user if the encoding of the file is a guess.

    Raises:
        CaptionsError: The file has none of the formats, or something is wrong in it.
    """
    text, encoding = decode(file.read_bytes())
    if encoding == GUESSED_ENCODING and notes is not None:
        notes.append(
            f"{file.name} is not in UTF-8, and read as Windows-1252: save it in UTF-8 if letters "
            "are wrong"
        )
    try:
        rows = list(parse_rows(text, file.suffix.lower(), named or {}))
        check_names(rows)
        return rows
    except json.JSONDecodeError as error:
        raise CaptionsError(f"{file}: is not valid JSON ({error}): fix or replace it") from None
    except STRUCTURE_ERRORS as error:
        reason = f"{type(error).__name__}: {error}"
        raise CaptionsError(
            f"{file}: cannot be read ({reason}), it has none of the formats that "
            f"{program_name()} score --help describes: fix or replace it"
        ) from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise CaptionsError(f"{file}: cannot be read: {error}") from None


def check_names(rows: list[Row]) -> None:
    """Raise a TypeError if the name or split of a photo is no text, which happens in JSON."""
    for row in rows:
        if not isinstance(row.name, str):
            raise TypeError(f"the name {row.name!r:.30} is not text")
        if not isinstance(row.split, str | None):
            raise TypeError(f"the split of {row.name}, {row.split!r:.30}, is not text")


def read_text(file: Path) -> str:
    """The text of a file in one of the encodings of `decode`."""
    text, _ = decode(file.read_bytes())
    return text


def decode(content: bytes) -> tuple[str, str]:
    """Text in UTF-8 or UTF-16, with or without a byte order mark, else in Windows-1252.

    Returns:
        The text and its encoding. Windows-1252 extends Latin-1, and the few bytes that it does not
        have are read as Latin-1, so any content is text.
    """
    encoding = detect_encoding(content[:SAMPLE_BYTES])
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError:
        pass
    try:
        return content.decode(GUESSED_ENCODING), GUESSED_ENCODING
    except UnicodeDecodeError:
        return content.decode("latin-1"), GUESSED_ENCODING


def detect_encoding(head: bytes) -> str:
    """UTF-16 if a file begins like that, else UTF-8."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(head) > 3 and head[1] == head[3] == 0 != head[0]:
        return "utf-16-le"
    if len(head) > 3 and head[0] == head[2] == 0 != head[1]:
        return "utf-16-be"
    return "utf-8-sig"


def parse_rows(text: str, suffix: str, named: Mapping[str, str]) -> Iterator[Row]:
    """The rows in the content of a file."""
    if suffix in JSON_SUFFIXES or text.lstrip()[:1] in ("{", "["):
        data = parse_json_lines(text) if suffix in LINES_SUFFIXES else parse_json(text)
        return read_json(data, named)
    if re.match(TOKEN_LINE, text):
        return read_token_file(text)
    return read_table(text, named)


def read_token_file(text: str) -> Iterator[Row]:
    """Rows of Flickr8k's and Flickr30k's `.token` files."""
    # `str.splitlines` would also split at characters that occur within captions.
    for line in io.StringIO(text, newline=None):
        name, _, caption = line.partition("\t")
        if line.strip():
            yield Row(name.rpartition("#")[0], caption)
