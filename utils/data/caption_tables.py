"""Captions in tables: their columns, and how their rows are read.

A table has a header. Its columns are separated by commas, semicolons, tabs or bars.
"""

import ast
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from utils.data.csv_cells import unescape_cell
from utils.data.name_matching import IMAGE_SUFFIX

# The names of columns, and of the keys of JSON objects, without what is not a letter or digit:
# `filename` also stands for `file_name` and `File Name`. Those of one kind in order of preference.
IMAGE_COLUMNS = (
    "image",
    "imagename",
    "filename",
    "imagefile",
    "imagepath",
    "filepath",
    "photo",
    "photoname",
    "picture",
    "img",
    "imgname",
    "imgpath",
    "file",
    "path",
    "imageid",
)
CAPTION_COLUMNS = ("caption", "captions", "comment", "text", "sentence", "description", "raw")
SPLIT_COLUMNS = ("split", "set", "partition")
ID_COLUMNS = ("imageid", "cocoid", "imgid", "id")
# Columns that the commands `caption` and `score` write: nothing is trained on generated captions.
GENERATED_COLUMNS = ("probability", "ciderd")

DELIMITERS = {",": "CSV", ";": "table separated by ;", "\t": "TSV", "|": "table separated by |"}
# The beginning of another row within a caption: a quotation mark before it is not closed.
SWALLOWED_ROW = r"\n[^\n]*{suffix}\"?\s*{delimiter}"


class Row(NamedTuple):
    """One caption of a photo.

    Attributes:
        name: The name of the photo, which may be a path.
        caption: The caption, or None if the row only says that the photo exists.
        split: The photo's split as the file calls it, or None.
        image_id: An ID that stands for the photo in files of scores, or None.
    """

    name: str
    caption: str | None
    split: str | None = None
    image_id: str | None = None


class Columns(NamedTuple):
    """The positions of the columns of a table."""

    image: int
    captions: tuple[int, ...]
    split: int | None
    image_id: int | None


def squeeze(name: str) -> str:
    """The name of a column in lower case, without spaces and the like."""
    lowered = name.strip().lower()
    return re.sub(r"[\W_]+", "", lowered) or lowered


def find_columns(header: list[str], named: Mapping[str, str]) -> Columns | None:
    """The columns of a table by the names in its header; None if image or caption is missing.

    Args:
        header: The names of all columns.
        named: The names of columns that the user has given, by role.
    """
    names = [squeeze(name) for name in header]
    image = first_column(names, wanted_names("image", IMAGE_COLUMNS, named))
    captions = caption_columns(names, wanted_names("caption", CAPTION_COLUMNS, named))
    if image is None or not captions:
        return None
    split = first_column(names, wanted_names("split", SPLIT_COLUMNS, named))
    return Columns(image, captions, split, first_column(names, ID_COLUMNS))


def wanted_names(role: str, known: tuple[str, ...], named: Mapping[str, str]) -> tuple[str, ...]:
    """The names that a column can have: the one that the user has given, or the known ones."""
    return (squeeze(named[role]),) if role in named else known


def first_column(names: list[str], wanted: tuple[str, ...]) -> int | None:
    """The position of the first of the wanted names that a header has."""
    for name in wanted:
        if name in names:
            return names.index(name)
    return None


def caption_columns(names: list[str], wanted: tuple[str, ...]) -> tuple[int, ...]:
    """The positions of the captions: one column, or several such as `caption1` to `caption5`."""
    column = first_column(names, wanted)
    if column is not None:
        return (column,)
    numbered = re.compile(rf"({'|'.join(map(re.escape, wanted))})\d+")
    return tuple(index for index, name in enumerate(names) if numbered.fullmatch(name))


def is_generated(names: list[str]) -> bool:
    """Whether columns or keys are those of captions that a captioner has generated."""
    return first_column([squeeze(name) for name in names], GENERATED_COLUMNS) is not None


def skip_preamble(text: str) -> str:
    """A table without empty lines before it, and without Excel's line `sep=;`."""
    return re.sub(r"\A\s*sep=.\r?\n", "", text).lstrip("\r\n")


def read_first_line(text: str) -> str:
    """The first line of a text, which ends in any way."""
    return re.split(r"[\r\n]", text, maxsplit=1)[0]


def find_delimiter(first_line: str) -> str:
    """The character that separates the columns: the most frequent one of the header."""
    return max(reversed(DELIMITERS), key=first_line.count)


def read_header(first_line: str) -> list[str]:
    """The names of the columns, without the empty ones at the end."""
    header = next(csv.reader([first_line], delimiter=find_delimiter(first_line)), [])
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    return names


def read_table(text: str, named: Mapping[str, str]) -> Iterator[Row]:
    """The rows of a table.

    Args:
        text: The content of the file.
        named: The names of columns that the user has given, by role.

    Raises:
        ValueError: Says which column is missing, or which row is wrong.
    """
    text = skip_preamble(text)
    first_line = read_first_line(text)
    delimiter = find_delimiter(first_line)
    header = read_header(first_line)
    columns = find_columns(header, named) or second_column(header, named)
    if columns is None:
        raise ValueError(missing_columns(header, named))
    lines = csv_rows(text, delimiter)
    next(lines)
    swallowed = re.compile(
        SWALLOWED_ROW.format(suffix=IMAGE_SUFFIX, delimiter=re.escape(delimiter))
    )
    for fields in lines:
        if not any(fields):
            continue
        fields = complete_fields(fields, header, columns, delimiter)
        name = field_at(fields, columns.image)
        for column in columns.captions:
            caption = field_at(fields, column)
            if swallowed.search(caption):
                raise ValueError(
                    f"the caption of {name}, which ends in line {lines.line_num}, has further rows "
                    "in it: close its quotation mark"
                )
            split = field_at(fields, columns.split) or None
            image_id = field_at(fields, columns.image_id) or None
            for part in split_list(caption):
                yield Row(name, part, split, image_id)


def split_list(field: str) -> list[str]:
    """The captions in a field: one, or those of a list in the syntax of JSON or Python."""
    if not (field.startswith("[") and field.endswith("]")):
        return [field]
    try:
        captions = ast.literal_eval(field)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [field]
    is_list = isinstance(captions, list) and all(isinstance(part, str) for part in captions)
    return (captions or [""]) if is_list else [field]


def csv_rows(text: str, delimiter: str) -> Any:
    """A `csv.reader`; between bars, quotation marks are part of a caption."""
    lines = io.StringIO(text, newline="")
    if delimiter == "|":
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter)


def second_column(header: list[str], named: Mapping[str, str]) -> Columns | None:
    """The columns of a table whose second is named caption: its first one names the photo."""
    if named or len(header) < 2 or squeeze(header[1]) != "caption":
        return None
    return Columns(0, (1,), None, None)


def missing_columns(header: list[str], named: Mapping[str, str]) -> str:
    """What is wrong with a header, and how to fix it."""
    if named:
        return f"it {lacks_named(header, named)}: correct --columns image=NAME,caption=NAME"
    return (
        "the first line must name the columns, such as image,caption; other names can be given "
        "with --columns image=NAME,caption=NAME"
    )


def lacks_named(header: Sequence[str], named: Mapping[str, str]) -> str:
    """Which columns a header lacks, where the user has named some."""
    names = [squeeze(name) for name in header]
    missing = [name for name in named.values() if not caption_columns(names, (squeeze(name),))]
    columns = f"(its columns are {', '.join(header)})"
    if missing:
        listed = " and no column ".join(f"'{name}'" for name in missing)
        return f"has no column {listed} {columns}"
    roles = [role for role in ("image", "caption") if role not in named]
    return f"has no column that is known to be the {' or '.join(roles)} {columns}"


def complete_fields(
    fields: list[str], header: list[str], columns: Columns, delimiter: str
) -> list[str]:
    """One field for each column, although a caption in the last one may lack its quotes.

    Raises:
        ValueError: There are more fields than columns.
    """
    last = columns.captions[-1]
    if last == len(fields):
        # One row of Flickr30k lacks the delimiter after its number.
        fields = [*fields, "".join(re.findall(r"^\s*\d+\s(.*)", fields[-1]))]
    surplus = fields[len(header) :]
    if not any(surplus):
        return fields[: len(header)]
    if last == len(header) - 1:
        return [*fields[:last], delimiter.join(fields[last:])]
    raise ValueError(
        f"the row of {field_at(fields, columns.image)} has {len(fields)} fields, the first line "
        f"{len(header)}: put captions that contain '{delimiter}' in quotes"
    )


def field_at(fields: list[str], column: int | None) -> str:
    """The field of a column without surrounding space; empty if a short row lacks it.

    The apostrophe with which `caption --csv` keeps a spreadsheet from running it is removed.
    """
    if column is None or column >= len(fields):
        return ""
    return unescape_cell(fields[column].strip())
