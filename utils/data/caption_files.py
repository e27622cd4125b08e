"""Captions files in the formats of the known data sets: names of photos, captions, some splits.

Flickr8k and Flickr30k from Kaggle and from their authors, COCO, Karpathy's JSON, and any table with
the columns image and caption.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from utils.errors import CaptionsError
from utils.paths import find_input, input_folder, on_kaggle, require_identical

# The file names by which the captions of a data set are recognized, in order of preference.
CAPTION_FILES = (
    "captions.txt",  # Flickr8k on Kaggle
    "Flickr8k.token.txt",  # Flickr8k from its authors
    "results.csv",  # Flickr30k on Kaggle
    "results_2013*.token",  # Flickr30k from its authors
    "captions_train20*.json",  # COCO
    "captions_val20*.json",
    "dataset_*.json",  # Karpathy's splits
    "*.csv",  # any table with the columns below
)

# The names of the two columns of a table.
IMAGE_COLUMNS = ("image", "image_name", "filename", "file_name")
CAPTION_COLUMNS = ("caption", "comment")  # Flickr30k has comments

# What reading a file of another format than expected can raise.
PARSE_ERRORS = (csv.Error, LookupError, TypeError, ValueError, AttributeError, RecursionError)
SPLIT_NAMES = {"val": "validation", "restval": "train"}  # Karpathy's names -> ours

Row = tuple[str, str, str | None]  # name of the photo, caption, split


def detect_preset() -> str:
    """The preset that fits the data: `flickr8k` where captioned photos are found, else `sample`.

    The environment variable `CAPTIONS_PRESET` overrides it.

    Raises:
        CaptionsError: There are no photos in a folder that should have some: the one that
            `CAPTIONS_INPUT` names, or Kaggle's inputs.
    """
    if preset := os.environ.get("CAPTIONS_PRESET"):
        return preset
    if find_captions_file():
        return "flickr8k"
    if folder := os.environ.get("CAPTIONS_INPUT"):
        raise CaptionsError(f"{folder}: has no {' or '.join(CAPTION_FILES)}: name another folder")
    if on_kaggle():
        raise CaptionsError(
            f"{input_folder()}: has no captions: attach the dataset adityajn105/flickr8k with "
            "'Add Input', or set CAPTIONS_PRESET=sample for the drawn sample"
        )
    return "sample"


def find_captions_file() -> Path | None:
    """The file with the captions, at any depth in the inputs."""
    for name in CAPTION_FILES:
        candidates = []
        for path in find_input(name):
            if path.suffix != ".csv" or has_caption_columns(path):
                candidates.append(path)
        if file := require_identical(candidates):
            return file
    return None


def has_caption_columns(path: Path) -> bool:
    """Whether the first line of a table names a column of images and one of captions."""
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        header = lines.readline(1000).lower()
    has_images = any(name in header for name in IMAGE_COLUMNS)
    return has_images and any(name in header for name in CAPTION_COLUMNS)


def read_captions(*files: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Read one or several captions files.

    Returns:
        The captions by name of the photo, and the names by split where the files give splits.

    Raises:
        CaptionsError: A file is not in one of the known formats.
    """
    captions: dict[str, list[str]] = {}
    splits: dict[str, dict[str, None]] = {}  # dicts as ordered sets
    for file in files:
        read_rows = read_json if file.suffix == ".json" else read_table
        try:
            for name, caption, split in read_rows(file, read_text(file)):
                name = name.strip().removeprefix("./")
                caption = " ".join(caption.split())
                texts = captions.setdefault(name, [])
                if caption:
                    texts.append(caption)
                if split:
                    splits.setdefault(SPLIT_NAMES.get(split, split), {})[name] = None
        except PARSE_ERRORS as error:
            reason = str(error) or type(error).__name__
            raise CaptionsError(f"{file}: cannot be read ({reason}): fix or replace it") from None
    return captions, {split: list(names) for split, names in splits.items()}


def read_text(file: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark, else in Latin-1."""
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # which accepts any bytes


def read_json(file: Path, text: str) -> Iterator[Row]:
    """Rows of COCO's `captions_train2017.json`, or of Karpathy's format."""
    data = json.loads(text)
    if "annotations" in data:
        yield from read_coco(data, "train" if "train" in file.name else "validation")
    else:
        yield from read_karpathy(data)


def read_coco(data: dict, split: str) -> Iterator[Row]:
    """Rows of a COCO file; photos without captions come with an empty one."""
    names = {image["id"]: image["file_name"] for image in data["images"]}
    for name in names.values():
        yield name, "", split
    for annotation in data["annotations"]:
        yield names[annotation["image_id"]], annotation["caption"], split


def read_karpathy(data: dict) -> Iterator[Row]:
    """Rows of a file in Karpathy's format; photos without captions come with an empty one."""
    for image in data["images"]:
        yield image["filename"], "", image["split"]
        for sentence in image["sentences"]:
            yield image["filename"], sentence["raw"], image["split"]


def read_table(file: Path, text: str) -> Iterator[Row]:
    """Rows of a table with a header, or of the authors' `name#0<tab>caption`."""
    first_line = text.partition("\n")[0]
    if re.match(r"[^\t]+#\d\t", first_line):
        yield from read_token_file(text)
    else:
        yield from read_csv(file, text, first_line)


def read_token_file(text: str) -> Iterator[Row]:
    """Rows of Flickr8k's and Flickr30k's `.token` files."""
    # `str.splitlines` would also split at characters that occur within captions.
    for line in io.StringIO(text, newline=None):
        name, _, caption = line.partition("\t")
        yield name.rpartition("#")[0], caption, None


def read_csv(file: Path, text: str, first_line: str) -> Iterator[Row]:
    """Rows of a table whose columns are separated by commas, semicolons, tabs or bars."""
    delimiter = max("|,;\t", key=first_line.count)
    lines = io.StringIO(text, newline="")
    if delimiter == "|":
        rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(lines, delimiter=delimiter)
    header = [name.strip().lower() for name in next(rows, [])]
    image_column = find_column(header, IMAGE_COLUMNS)
    caption_column = find_column(header, CAPTION_COLUMNS)
    if image_column is None or caption_column is None:
        raise CaptionsError(f"{file}: its first line must name the columns image,caption")
    is_last = caption_column == len(header) - 1
    for fields in rows:
        if not any(fields):
            continue
        if caption_column == len(fields):
            # One row of Flickr30k lacks the delimiter after its number.
            fields.append("".join(re.findall(r"^\s*\d+\s(.*)", fields[-1])))
        if any(fields[len(header) :]) and not is_last:
            name = fields[image_column]
            raise ValueError(f"more columns than names for {name}: quote its commas")
        # The commas of a last caption may lack their quotes; a row without it has none.
        rest = delimiter.join(fields[caption_column:])
        caption = rest if is_last else fields[caption_column]
        yield fields[image_column], caption, None


def find_column(header: list[str], names: tuple[str, ...]) -> int | None:
    """The index of the first of these names that a header has."""
    for name in names:
        if name in header:
            return header.index(name)
    return None
