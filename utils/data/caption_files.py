"""The captions files of the inputs: which there are, and what is in them.

A captions file is recognized by its content, whatever its name is; `caption_formats` lists the
formats.
"""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from utils.config import Config, load_config, parse_columns
from utils.data.caption_formats import read_rows, recognize, why_unrecognized
from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.paths import find_input, input_folder, on_kaggle, require_identical

# The captions files of known data sets, in order of preference; they come before all others.
CAPTION_FILES = (
    "captions.txt",  # Flickr8k on Kaggle
    "Flickr8k.token.txt",  # Flickr8k from its authors
    "results.csv",  # Flickr30k on Kaggle
    "results_2013*.token",  # Flickr30k from its authors
    "captions_train20*.json",  # COCO
    "captions_val20*.json",
    "dataset_*.json",  # Karpathy's splits
)
CAPTION_SUFFIXES = (".csv", ".tsv", ".txt", ".token", ".json", ".jsonl", ".ndjson")
MAX_OTHERS = 3  # files that an error describes
SPLIT_NAMES = {  # names in captions files -> ours
    "training": "train",
    "restval": "train",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "testing": "test",
}


@dataclass(frozen=True)
class CaptionsFile:
    """A captions file of the inputs.

    Attributes:
        path: Where it is.
        format: Its format, for the user.
        rank: The position of its name in `CAPTION_FILES`; their number for any other name.
    """

    path: Path
    format: str
    rank: int

    def __str__(self) -> str:
        return f"{self.path.name} ({self.format})"


# === Find ===


def detect_preset() -> str:
    """The preset that fits the data: `flickr8k` where captioned photos are found, else `sample`.

    The environment variable `CAPTIONS_PRESET` overrides it.

    Raises:
        CaptionsError: There are no photos in a folder that should have some: the one that
            `CAPTIONS_INPUT` names, or Kaggle's inputs.
    """
    if preset := os.environ.get("CAPTIONS_PRESET"):
        return preset
    config = load_config()
    if find_captions_file(config):
        return "flickr8k"
    if folder := os.environ.get("CAPTIONS_INPUT"):
        raise CaptionsError(f"{folder}: {describe_missing(config)}")
    if on_kaggle():
        raise CaptionsError(
            f"{input_folder()}: has no captions: attach the dataset adityajn105/flickr8k with "
            "'Add Input', or set CAPTIONS_PRESET=sample for the drawn sample"
        )
    return "sample"


def describe_missing(config: Config) -> str:
    """What is missing in inputs without a captions file, and how to fix it."""
    named = parse_columns(config.columns)
    problem = (
        "has no captions.txt, and no other captions file (a table with columns such as "
        "image,caption, or COCO's or Karpathy's JSON)"
    )
    others = [path for path in find_input("*") if path.suffix.lower() in CAPTION_SUFFIXES]
    if not others:
        return f"{problem}: name another folder"
    shown = "; ".join(
        f"{path.name} {why_unrecognized(path, named)}" for path in others[:MAX_OTHERS]
    )
    return (
        f"{problem}; {shown}: name the file with --captions, and its columns with --columns "
        "image=NAME,caption=NAME"
    )


def find_captions_file(config: Config) -> Path | None:
    """The captions file that the settings name, or the first in the inputs.

    Raises:
        CaptionsError: There is no file of that name, or there are several with other contents.
    """
    if config.captions_file:
        return find_named_file(config.captions_file)
    found = find_captions_files(parse_columns(config.columns))
    if found:
        return found[0].path
    # A file that only has the right name: reading it says what is wrong with it.
    for path in find_input("*"):
        if rank_of(path.name) < len(CAPTION_FILES):
            return path
    return None


def find_named_file(name: str) -> Path:
    """The captions file that a setting names: a path, or a part of one in the inputs.

    Raises:
        CaptionsError: There is none.
    """
    path = input_folder() / Path(os.path.expanduser(name))
    if path.is_file():
        return path
    parts = Path(name).parts
    found = [path for path in find_input(Path(name).name) if path.parts[-len(parts) :] == parts]
    file = require_identical(found)
    if file is None:
        raise CaptionsError(
            f"{path}: does not exist: name the captions file by its path, or by its place in "
            f"{input_folder()}"
        )
    return file


@os_errors_as_caption_errors()
def find_captions_files(named: dict[str, str] | None = None) -> list[CaptionsFile]:
    """All captions files in the inputs, at any depth.

    Args:
        named: The names of columns that the user has given, by role.

    Returns:
        Those of known data sets first, in the order of `CAPTION_FILES`; of others, those in the
        shallowest folders.
    """
    found = []
    for path in find_input("*"):
        if path.suffix.lower() not in CAPTION_SUFFIXES:
            continue
        if file_format := recognize(path, named):
            found.append(CaptionsFile(path, file_format, rank_of(path.name)))
    return sorted(found, key=lambda file: file.rank)  # which keeps the order of equal ranks


def rank_of(name: str) -> int:
    """The position of the first pattern in `CAPTION_FILES` that a name matches."""
    for rank, pattern in enumerate(CAPTION_FILES):
        if fnmatchcase(name, pattern):
            return rank
    return len(CAPTION_FILES)


# === Read ===


def read_captions(
    *files: Path, columns: str = "", notes: list[str] | None = None
) -> tuple[dict[str, list[str]], dict[str, list]]:
    """Read one or several captions files.

    Args:
        *files: The files.
        columns: The columns of tables that have other names, such as `image=path,caption=text`.
        notes: Gets lines for the user: how many captions are empty, and what had to be guessed.

    Returns:
        The captions by name of the photo, and the names by split where the files give splits.

    Raises:
        CaptionsError: A file is not in one of the known formats.
    """
    named = parse_columns(columns)
    captions: dict[str, list[str]] = {}
    splits: dict[str, dict[str, None]] = {}  # dicts as ordered sets
    for file in files:
        coco_split = split_of_coco(file)
        num_empty = 0
        for row in read_rows(file, named, notes):
            name = row.name.strip().removeprefix("./")
            texts = captions.setdefault(name, [])
            caption = " ".join((row.caption or "").split())
            if caption:
                texts.append(caption)
            elif row.caption is not None:
                num_empty += 1
            split = row.split or coco_split
            if split:
                split = SPLIT_NAMES.get(split.lower(), split.lower())
                splits.setdefault(split, {})[name] = None
        if num_empty and notes is not None:
            notes.append(describe_empty(num_empty, file.name))
    return captions, {split: list(names) for split, names in splits.items()}


def describe_empty(count: int, name: str) -> str:
    """The line for the user on the empty captions of a file."""
    if count == 1:
        return f"1 caption in {name} is empty, and left out"
    return f"{count:,} captions in {name} are empty, and left out"


def split_of_coco(file: Path) -> str | None:
    """The split that the name of a part of COCO says."""
    for split in ("train", "val", "test"):
        if fnmatchcase(file.name, f"captions_{split}20*.json"):
            return split
    return None
