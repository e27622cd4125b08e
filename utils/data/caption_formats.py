"""The formats of captions files: recognize one by its first bytes, and read its rows.

Tables, the authors' `.token` files, COCO's and Karpathy's JSON, and JSON objects and lists of
captions.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from utils.data.caption_tables import (
    DELIMITERS,
    Row,
    find_columns,
    find_delimiter,
    is_generated,
    read_first_line,
    read_header,
    read_table,
    skip_preamble,
)
from utils.data.name_matching import IMAGE_SUFFIX
from utils.errors import CaptionsError

# What is read of a file to recognize its format, at its beginning and at its end.
SAMPLE_BYTES = 1 << 16
LINES_SUFFIXES = (".jsonl", ".ndjson")
JSON_SUFFIXES = (".json", *LINES_SUFFIXES)

COCO = "COCO JSON"
KARPATHY = "Karpathy's JSON"
TOKEN = "token file"
CAPTIONS_BY_NAME = "JSON of captions by name"
JSON_ROWS = "JSON rows"

TOKEN_LINE = r"[^\t\n]+#\d+\t"
JSON_KEY = r'"((?:[^"\\]|\\.){1,60})"\s*:'
CAPTIONS_OF_NAME = rf'\s*\{{\s*"[^"]+{IMAGE_SUFFIX}"\s*:\s*(?:\[\s*)?"'

# What reading a file of another format than expected can raise.
STRUCTURE_ERRORS = (LookupError, TypeError, AttributeError)


# === Recognize ===


def recognize(path: Path, named: Mapping[str, str] | None = None) -> str | None:
    """The format of a captions file, or None for any other file; only its ends are read.

    Args:
        path: The file.
        named: The names of columns that the user has given, by role.
    """
    with open(path, "rb") as file:
        head = file.read(SAMPLE_BYTES)
        encoding = detect_encoding(head)
        if path.suffix.lower() not in JSON_SUFFIXES:
            return recognize_table(head.decode(encoding, errors="replace"), named or {})
        size = file.seek(0, os.SEEK_END)
        file.seek(max(len(head), size - SAMPLE_BYTES) // 4 * 4)  # where a character begins
        tail = file.read(SAMPLE_BYTES)
    text = head.decode(encoding, errors="replace")
    return recognize_json(text, tail.decode(encoding, errors="replace"), named or {})


def recognize_table(text: str, named: Mapping[str, str]) -> str | None:
    """The format of a table or a `.token` file from its beginning."""
    first_line = read_first_line(skip_preamble(text))
    if re.match(TOKEN_LINE, first_line):
        return TOKEN
    try:
        header = read_header(first_line)
    except csv.Error:
        return None
    if find_columns(header, named) is None or is_generated(header):
        return None
    return DELIMITERS[find_delimiter(first_line)]


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
    has_columns = find_columns(keys, named) is not None
    return JSON_ROWS if has_columns and not is_generated(keys) else None


def is_json_lines(head: str) -> bool:
    """Whether the first line of a text is an object of its own."""
    first_line = head.lstrip().partition("\n")[0]
    try:
        data = json.loads(first_line)
    except (ValueError, RecursionError):
        return False
    return "annotations" not in data and "images" not in data


# === Read ===


def read_rows(file: Path, named: Mapping[str, str] | None = None) -> list[Row]:
    """The rows of a captions file in any of the formats.

    Args:
        file: The file.
        named: The names of columns that the user has given, by role.

    Raises:
        CaptionsError: The file has none of the formats, or something is wrong in it.
    """
    try:
        rows = list(parse_rows(read_text(file), file.suffix.lower(), named or {}))
        check_names(rows)
        return rows
    except json.JSONDecodeError as error:
        raise CaptionsError(f"{file}: is not valid JSON ({error}): fix or replace it") from None
    except STRUCTURE_ERRORS as error:
        reason = f"{type(error).__name__}: {error}"
        raise CaptionsError(
            f"{file}: cannot be read ({reason}), it has none of the formats that "
            "python -m utils score --help describes: fix or replace it"
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
    """A text file in UTF-8 or UTF-16, with or without a byte order mark, else in Latin-1."""
    content = file.read_bytes()
    try:
        return content.decode(detect_encoding(content[:SAMPLE_BYTES]))
    except UnicodeDecodeError:
        return content.decode("latin-1")  # which accepts any bytes


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


# === JSON ===


def parse_json(text: str) -> Any:
    """The data in a JSON file, or a list of those in the lines of JSON Lines."""
    try:
        return json.loads(text, object_pairs_hook=dict_without_duplicates)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
    return parse_json_lines(text)


def parse_json_lines(text: str) -> list[Any]:
    """The data in each line of JSON Lines."""
    lines = [line for line in text.split("\n") if line.strip()]
    return [json.loads(line, object_pairs_hook=dict_without_duplicates) for line in lines]


def dict_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; a duplicate key, whose first value would be lost, is an error."""
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object in it has the same key twice, {double!r}: rename one")
    return result


def read_json(data: Any, named: Mapping[str, str]) -> Iterator[Row]:
    """The rows in the data of a JSON file."""
    if isinstance(data, list):
        return read_objects(data, named)
    if find_columns(list(data), named):
        return read_objects([data], named)
    if "annotations" in data:
        return read_coco(data)
    if isinstance(data.get("images"), list):
        return read_karpathy(data)
    return read_captions_by_name(data)


def read_coco(data: dict) -> Iterator[Row]:
    """Rows of COCO's annotations, and one for each of its photos."""
    names = {image["id"]: image["file_name"] for image in data.get("images", [])}
    for image_id, name in names.items():
        yield Row(name, None, image_id=str(image_id))
    for position, annotation in enumerate(data["annotations"]):
        place = f"annotations[{position}]"
        if "caption" not in annotation:
            raise ValueError(f"{place}: has no caption: fix or remove it")
        image_id = annotation["image_id"]
        caption = require_text(annotation["caption"], f"{place}, image {image_id}")
        yield Row(str(names.get(image_id, image_id)), caption, image_id=str(image_id))


def read_karpathy(data: dict) -> Iterator[Row]:
    """Rows of a file in Karpathy's format, and one for each of its photos."""
    for position, image in enumerate(data["images"]):
        name = image["filename"]
        image_id = image.get("cocoid", image.get("imgid"))
        image_id = None if image_id is None else str(image_id)
        yield Row(name, None, image.get("split"), image_id)
        for number, sentence in enumerate(image["sentences"]):
            place = f"images[{position}].sentences[{number}], {name}"
            caption = require_text(sentence["raw"], place)
            yield Row(name, caption, image.get("split"), image_id)


def read_captions_by_name(data: dict) -> Iterator[Row]:
    """Rows of an object whose keys are names, and whose values are captions or lists of them."""
    for name, captions in data.items():
        if isinstance(captions, str):
            captions = [captions]
        if captions is None or isinstance(captions, float | int):
            require_text(captions, name)
        yield Row(name, None)
        for number, caption in enumerate(captions):
            yield Row(name, require_text(caption, f"{name}, caption {number}"))


def read_objects(data: list, named: Mapping[str, str]) -> Iterator[Row]:
    """Rows of a list of objects, such as COCO's results."""
    for position, entry in enumerate(data):
        keys = list(entry)
        columns = find_columns(keys, named)
        if columns is None:
            raise KeyError(f"row {position} has the keys {', '.join(keys)}")
        name = str(entry[keys[columns.image]])
        split = None if columns.split is None else entry[keys[columns.split]]
        image_id = None if columns.image_id is None else str(entry[keys[columns.image_id]])
        for column in columns.captions:
            captions = entry[keys[column]]
            if not isinstance(captions, list):
                captions = [captions]
            for caption in captions:
                text = require_text(caption, f"row {position}, {name}")
                yield Row(name, text, split, image_id)


def require_text(value: Any, place: str) -> str:
    """A caption that is text; anything else is a ValueError that names its place."""
    if isinstance(value, str):
        return value
    shown = json.dumps(value)[:30]
    raise ValueError(f"{place}: the caption is {shown}, not text: fill it in, or remove it")
