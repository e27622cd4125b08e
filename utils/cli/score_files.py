"""The files of the command `score`: read them, choose a subset, and find what belongs together."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from utils.artifacts import read_artifact
from utils.config import parse_columns
from utils.data.caption_files import SPLIT_NAMES
from utils.data.caption_formats import JSON_SUFFIXES, read_rows, read_text, recognize
from utils.data.caption_tables import Row
from utils.data.tokenizer import tokenize
from utils.errors import CaptionsError


class FileError(CaptionsError):
    """A file of captions cannot be used: what is wrong with it."""

    exit_status = 2


@dataclass(frozen=True)
class ScoreFile:
    """The photos of a file and their captions.

    Attributes:
        path: The file, or the working folder of a run.
        captions: The captions of each photo, by name.
        ids: The ID of each photo that has one, by name.
        splits: The split of each photo that has one, by name.
    """

    path: str | Path
    captions: dict[str, list[str]]
    ids: dict[str, str]
    splits: dict[str, str]


@dataclass(frozen=True)
class Pairs:
    """Which photos of two files are the same.

    Attributes:
        first: The name of each photo of the first file, by a key.
        second: The name of each photo of the second file, by the same key.
    """

    first: dict[str, str]
    second: dict[str, str]

    @property
    def common(self) -> list[str]:
        """The keys of the photos that are in both, in the order of the second."""
        return [key for key in self.second if key in self.first]


# === Read ===


def load_captions(path: str | Path, columns: str = "") -> ScoreFile:
    """Read a file of captions in any of the formats, or the captions of a run.

    Args:
        path: The file, or the working folder of a run.
        columns: The columns of a table that have other names, such as `image=path,caption=text`.

    Raises:
        FileError: The file cannot be read, has another format, or has an empty caption.
    """
    if Path(path).is_dir():
        return load_run_captions(path)
    loaded = group_rows(path, load_rows(path, columns))
    if not any(loaded.captions.values()):
        raise FileError(f"{path}: contains no captions: name another file")
    return loaded


def load_run_captions(folder: str | Path) -> ScoreFile:
    """The captions of all photos of a run, and the split of each, from its `captions.pkl`.

    Raises:
        FileError: The folder is not that of a run.
    """
    file = Path(folder, "captions.pkl")
    if not file.is_file():
        fix = "name a captions file, or the working folder of a run"
        raise FileError(f"{folder}: is a folder without captions.pkl: {fix}")
    data = read_artifact(file, "captions")["data"]
    splits = {name: split for split, names in data["splits"].items() for name in names}
    return ScoreFile(folder, data["captions"], {}, splits)


def load_rows(path: str | Path, columns: str = "") -> list[Row]:
    """The rows of a captions file."""
    named = parse_columns(columns)
    notes: list[str] = []
    try:
        rows = read_rows(Path(path), named, notes)
    except OSError as error:
        raise unreadable(path, error) from None
    except CaptionsError as error:
        raise FileError(str(error)) from None
    for note in notes:
        print(note, file=sys.stderr)
    return rows


def unreadable(path: str | Path, error: OSError) -> FileError:
    """The error that the operating system does not let a file be read."""
    fix = "check that it exists and that you have permission"
    return FileError(f"{path}: could not be read ({error.strerror}): {fix}")


def group_rows(path: str | Path, rows: Sequence[Row]) -> ScoreFile:
    """The captions, ID and split of each photo in the rows of a file."""
    loaded = ScoreFile(path, {}, {}, {})
    for row in rows:
        name = row.name.strip().removeprefix("./")
        captions = loaded.captions.setdefault(name, [])
        if row.caption is not None:
            if not tokenize(row.caption):
                raise FileError(f"{path}: the caption of {name} is empty: fill it in, or remove it")
            captions.append(row.caption.strip())
        if row.image_id is not None and loaded.ids.setdefault(name, row.image_id) != row.image_id:
            raise FileError(
                f"{path}: {name} is the name of image {loaded.ids[name]} and of image "
                f"{row.image_id}: rename one"
            )
        if row.split:
            loaded.splits[name] = normalize_split(row.split)
    return loaded


def normalize_split(split: str) -> str:
    """The project's name of a split: `val` and `dev` are `validation`."""
    return SPLIT_NAMES.get(split.strip().lower(), split.strip().lower())


# === Find what belongs together ===


def pair_photos(first: ScoreFile, second: ScoreFile) -> Pairs:
    """Pair the photos of two files by names, IDs or file names: by what most have in common."""
    best: Pairs | None = None
    for first_key, second_key in product(KEYS, KEYS):
        pairs = Pairs(index_photos(first, first_key), index_photos(second, second_key))
        if best is None or len(pairs.common) > len(best.common):
            best = pairs
        if len(best.common) == len(second.captions):
            break
    assert best is not None
    return best


def index_photos(file: ScoreFile, key: Callable[[ScoreFile, str], str | None]) -> dict[str, str]:
    """The names of the photos by a key; empty if some photos lack it, or share one."""
    names: dict[str, str] = {}
    for name in file.captions:
        value = key(file, name)
        if value is None or value in names:
            return {}
        names[value] = name
    return names


def own_name(file: ScoreFile, name: str) -> str:
    """A key: the name as it is."""
    return name


def photo_id(file: ScoreFile, name: str) -> str | None:
    """A key: the ID of the photo."""
    return file.ids.get(name)


def file_name(file: ScoreFile, name: str) -> str:
    """A key: the name without folders, which may be others on the machine that captioned it."""
    return re.split(r"[/\\]", name)[-1]


KEYS = (own_name, photo_id, file_name)


# === Subsets ===


def select_subset(references: ScoreFile, subset: str) -> ScoreFile:
    """The references of a part of the photos.

    Args:
        references: All references.
        subset: A split that the references' file gives; or a file with a name in each line; or a
            captions file, `FILE`, or one of its splits, `FILE:SPLIT`.

    Raises:
        FileError: There is no such subset, or the references lack some of its photos.
    """
    path, _, split = subset.rpartition(":")
    if Path(subset).is_file():
        names = pair_all(references, load_list(subset), subset)
    elif Path(path).is_file():
        names = pair_all(references, choose_split(load_list(path), split), subset)
    else:
        names = list(choose_split(references, subset).captions)
    captions = {name: references.captions[name] for name in names}
    return ScoreFile(references.path, captions, references.ids, references.splits)


def load_list(path: str) -> ScoreFile:
    """The photos of a captions file, or of a list with a name in each line."""
    try:
        if Path(path).suffix.lower() in JSON_SUFFIXES or recognize(Path(path)):
            return group_rows(path, load_rows(path))
        lines = [line.strip() for line in read_text(Path(path)).splitlines()]
    except OSError as error:
        raise unreadable(path, error) from None
    return ScoreFile(path, {line: [] for line in lines if line}, {}, {})


def choose_split(file: ScoreFile, split: str) -> ScoreFile:
    """The photos of one split of a file."""
    wanted = normalize_split(split)
    names = [name for name in file.captions if file.splits.get(name) == wanted]
    if not names:
        known = " or ".join(dict.fromkeys(file.splits.values()))
        raise FileError(
            f"--subset: '{split}' is no file and no split of {file.path}: name "
            f"{known + ', or ' if known else ''}a file with a name in each line"
        )
    captions = {name: file.captions[name] for name in names}
    return ScoreFile(file.path, captions, file.ids, file.splits)


def pair_all(references: ScoreFile, wanted: ScoreFile, subset: str) -> list[str]:
    """The names that the references give the photos of a subset."""
    pairs = pair_photos(references, wanted)
    missing = [name for key, name in pairs.second.items() if key not in pairs.first]
    if not wanted.captions:
        raise FileError(f"--subset {subset}: names no photos: write one name in each line")
    if missing:
        raise FileError(
            f"--subset {subset}: {len(missing)} of its {len(wanted.captions)} photos are not in "
            f"{references.path}, e.g. {missing[0]}: name one split of the file as FILE:SPLIT, or "
            "remove them"
        )
    return [pairs.first[key] for key in pairs.common]
