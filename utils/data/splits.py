"""The split into training, validation and test photos.

Photos are split, never captions: if captions of one photo were in two splits, a model would be
tested on what it was trained on.
"""

import filecmp
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from utils.config import Config
from utils.data import download
from utils.data.caption_files import read_captions
from utils.data.caption_formats import read_text
from utils.data.name_matching import match_listed
from utils.errors import CaptionsError
from utils.paths import find_files, find_input, on_kaggle, working_folder

# split -> the name of its list in the files that come with Flickr8k
SPLITS = {"train": "trainImages", "validation": "devImages", "test": "testImages"}
TAIL_BYTES = 4096

Splits = dict[str, list[str]]


class OwnSplits(NamedTuple):
    """The splits that captions files give.

    Attributes:
        names: The names of the photos in each split.
        source: Where they come from, for the user.
        is_by_user: Whether the user has split the captions into files named after splits.
    """

    names: Splits
    source: str
    is_by_user: bool = False


def find_splits(
    names: list[str], own_splits: OwnSplits, config: Config, folder: Path | None = None
) -> tuple[Splits, str, Splits]:
    """Split photos by the first source that lists some of them.

    The sources, in order: captions files that the user has named after splits; lists in the inputs
    (on Kaggle, whose copy of Flickr8k lacks them, they are downloaded); a file in Karpathy's
    format; the parts in which the captions files come; a hash of each name.

    Args:
        names: The photos.
        own_splits: The splits that the captions files give.
        config: Decides where downloaded lists are kept.
        folder: The folder of the drawn sample, whose own lists are used.

    Returns:
        The names of each split, a description of the source, and the other lists that there are.
    """
    known = set(names)
    lists = find_lists(folder)
    if not lists and on_kaggle() and len(names) == download.PHOTOS:
        with suppress(CaptionsError):  # without a network, the source in the output says so
            download.download(working_folder(config), download.LISTS)
        lists = find_lists(working_folder(config))
    lists = name_photos(lists, known)
    for listed, description in split_sources(lists, own_splits, folder):
        candidate = name_photos(listed, known)
        if is_usable(candidate, known):
            chosen = candidate
            source = description
            break
    else:
        chosen = split_by_hash(names)
        source = "own split, by a hash of each name"
    splits = {}
    for split in SPLITS:
        splits[split] = [name for name in chosen.get(split, []) if name in known]
    subsets = {label: listed for label, listed in lists.items() if label not in SPLITS}
    return splits, source, subsets


def split_sources(
    lists: Splits, own_splits: OwnSplits, folder: Path | None
) -> Iterator[tuple[Splits, str]]:
    """The sources of a ready-made split, in order of preference; files are read only if needed."""
    if own_splits.is_by_user:
        yield own_splits.names, own_splits.source
    yield lists, "standard lists" if folder is None else "the sample's own lists"
    if folder is None:
        for path in find_input("dataset_*.json"):
            _, splits = read_captions(path)
            yield splits, "standard lists"
    yield own_splits.names, own_splits.source


def name_photos(lists: Splits, known: set[str]) -> Splits:
    """Lists with the names of the captions file, which may be paths where lists have file names.

    Lists that have some of these names already stay as they are, and so do entries that stand for
    none of the photos.
    """
    listed = [name for names in lists.values() for name in names]
    if any(name in known for name in listed):
        return lists
    found = match_listed(listed, sorted(known))
    named = {}
    for label, names in lists.items():
        named[label] = list(dict.fromkeys(found.get(name, name) for name in names))
    return named


def is_usable(splits: Splits, known: set[str]) -> bool:
    """Whether a source has training and validation photos, and some of the known ones."""
    if "train" not in splits or "validation" not in splits:
        return False
    return any(name in known for names in splits.values() for name in names)


def find_lists(folder: Path | None = None) -> Splits:
    """The lists `*trainImages.txt` and the like, by split, or by label where it is none."""
    pattern = "*Images.txt"
    paths = sorted(find_files(folder, pattern)) if folder else find_input(pattern)
    split_of_label = {label: split for split, label in SPLITS.items()}
    lists = {}
    for path in paths:
        label = path.stem.replace("Flickr_8k", "").rpartition(".")[2]
        split = split_of_label.get(label, label.removesuffix("Images"))
        lines = [line.strip() for line in read_text(path).splitlines()]
        lists[split] = list(dict.fromkeys(line for line in lines if line))
    return lists


def split_by_hash(names: list[str]) -> Splits:
    """80, 10 and 10 % by a hash of the name: a photo keeps its split when others are added.

    Of a few photos, at least one is for validation, and one for the test if there are three.
    """
    splits: Splits = {split: [] for split in SPLITS}
    for name in sorted(names):
        tenth = hash_name(name) % 10
        if tenth < 8:
            splits["train"].append(name)
        elif tenth == 8:
            splits["validation"].append(name)
        else:
            splits["test"].append(name)
    for split in ("validation", "test"):
        if not splits[split] and len(splits["train"]) > 1:
            moved = min(splits["train"], key=hash_name)
            splits["train"].remove(moved)
            splits[split].append(moved)
    return splits


def hash_name(name: str) -> int:
    """A number that depends on the name of a photo alone."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


def drop_duplicates(splits: Splits, paths: dict[str, Path]) -> dict[str, str]:
    """Remove photos that are in two splits under two names from the earlier split.

    The test split keeps all of its photos, so that scores stay comparable.

    Args:
        splits: The names of each split; changed in place.
        paths: The file of each photo.

    Returns:
        The removed names, with the reason.
    """
    split_index = {}
    for index, names in enumerate(splits.values()):
        for name in names:
            split_index[name] = index
    dropped = {}
    for names in group_by_tail(list(split_index), paths):
        kept = max(names, key=lambda name: split_index[name])
        for name in names:
            is_earlier = split_index[name] < split_index[kept]
            if is_earlier and filecmp.cmp(paths[name], paths[kept], shallow=False):
                dropped[name] = f"the same image as {kept}"
    for split, names in splits.items():
        splits[split] = [name for name in names if name not in dropped]
    return dropped


def group_by_tail(names: list[str], paths: dict[str, Path]) -> list[list[str]]:
    """Group files by their size and last bytes, which finds the few that must be compared."""
    groups = defaultdict(list)
    for name in names:
        with open(paths[name], "rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            groups[start, hash(file.read())].append(name)
    return list(groups.values())
