"""Which captions files of the inputs make up the data set of a run, and which are ignored.

Files with a split in their names, such as `train.csv` and `val.csv`, belong together, and give the
splits. Of other files the first one is used. The rest is ignored, which the description says; but
files that contradict each other are an error, because nobody can know which of them is right.
"""

import filecmp
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from utils.config import Config, parse_columns
from utils.data.caption_files import (
    CAPTION_FILES,
    SPLIT_NAMES,
    CaptionsFile,
    find_captions_file,
    find_captions_files,
    rank_of,
    read_captions,
)
from utils.data.caption_formats import KARPATHY
from utils.data.splits import SPLITS, OwnSplits, Splits, hash_name
from utils.errors import CaptionsError
from utils.paths import input_folder

# Flickr8k comes with a second captions file, whose words are reduced to their base forms.
LEMMATIZED_FILES = "*.lemma.token.txt"
MAX_IGNORED = 3  # that a description names

Captions = dict[str, list[str]]
Group = dict[Path, str]  # files that belong together, and the split of each; empty for a single one


@dataclass(frozen=True)
class DataSet:
    """The captions of a run, and where they come from.

    Attributes:
        files: The captions files that are used.
        captions: The captions by name of the photo.
        own_splits: The splits that the files give.
        ignored: The other captions files, with the reason.
        notes: Lines for the user on what had to be left out or guessed in the files.
    """

    files: list[Path]
    captions: Captions
    own_splits: OwnSplits
    ignored: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder of the files, or the one that holds the folders of all."""
        return Path(os.path.commonpath([file.parent for file in self.files]))

    @property
    def source(self) -> str:
        """The files that are used, and those that are ignored, for the user."""
        text = f"{join_names(self.files)} in {self.folder}"
        if not self.ignored:
            return text
        parts = [f"{show_path(path)} ({reason})" for path, reason in self.ignored.items()]
        if len(parts) > MAX_IGNORED:
            parts[MAX_IGNORED:] = [f"{len(parts) - MAX_IGNORED} more"]
        return f"{text}; ignored: {', '.join(parts)}"


def find_data_set(config: Config) -> DataSet | None:
    """The data set in the inputs, or None if they hold no captions file.

    Raises:
        CaptionsError: Captions files contradict each other, or cannot be read.
    """
    found = find_captions_files(parse_columns(config.columns))
    groups = group_files(found)
    if config.captions_file or not groups:
        groups = [named_group(config, groups)]
    group = groups[0]
    if not group:
        return None
    data_set = read_group(group, config)
    ignored = {}
    for file in found:
        if file.path not in group:
            ignored[file.path] = why_ignored(file, data_set, config)
    if config.columns:
        for file in find_captions_files():
            if file.path not in group:
                ignored.setdefault(file.path, "other columns are named")
    return replace(data_set, ignored=ignored)


# === Which files belong together ===


def split_of_name(name: str) -> str | None:
    """The split that a file or folder is named after: "validation" for `captions_val2017`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    splits = {SPLIT_NAMES.get(word.lower(), word.lower()) for word in words}
    splits &= SPLITS.keys()
    return splits.pop() if len(splits) == 1 else None


def family_and_split(path: Path) -> tuple[Path, str]:
    """What a file with a split shares with those of the other splits, and its split.

    It is the folder for `train.csv` and `val.csv`, and for `train/captions.csv` and
    `val/captions.csv` the folder with the name of the file.
    """
    split = split_of_name(path.stem)
    folder_split = split_of_name(path.parent.name)
    if split:
        return path.parent.parent if folder_split else path.parent, split
    if folder_split:
        return path.parent.parent / path.name, folder_split
    return path, ""


def group_files(found: Sequence[CaptionsFile]) -> list[Group]:
    """The data sets that captions files may be, the one to choose first.

    Files with a split in their names are one data set if there is a training split and another one.
    They come before other files of their folder.
    """
    families: dict[Path, Group] = {}
    for file in found:
        family, split = family_and_split(file.path)
        families.setdefault(family, {})[file.path] = split

    groups: list[Group] = []
    for group in families.values():
        splits = set(group.values())
        if "train" in splits and len(splits) > 1:
            groups.append(group)
        else:
            groups.extend({path: ""} for path in group)

    ranks = folder_ranks(found)

    def order(group: Group) -> tuple[int, bool]:
        first_file = next(iter(group))
        return ranks[first_file.parent], len(group) == 1

    return sorted(groups, key=order)  # which keeps the order of equal ones


def folder_ranks(found: Sequence[CaptionsFile]) -> dict[Path, int]:
    """The best rank of a file in each folder."""
    ranks: dict[Path, int] = {}
    for file in found:
        folder = file.path.parent
        ranks[folder] = min(file.rank, ranks.get(folder, file.rank))
    return ranks


def named_group(config: Config, groups: Sequence[Group]) -> Group:
    """The group of the file that `find_captions_file` returns; empty if there is none."""
    named = find_captions_file(config)
    for group in groups:
        if named in group:
            return group
    return {named: ""} if named else {}


# === What is in them ===


def read_data_set(file: Path, columns: str = "") -> DataSet:
    """The data set in a single file."""
    notes: list[str] = []
    captions, splits = read_captions(file, columns=columns, notes=notes)
    own_splits = OwnSplits(splits, f"the splits in {file.name}")
    return DataSet([file], captions, own_splits, notes=notes)


def read_group(group: Group, config: Config) -> DataSet:
    """Read files that belong together.

    Raises:
        CaptionsError: A photo is in two splits, or has other captions in another file.
    """
    if len(group) == 1:
        (file,) = group
        return read_data_set(file, config.columns)
    captions: Captions = {}
    splits: Splits = {split: [] for split in SPLITS if split in group.values()}
    files = [file for split in splits for file in group if group[file] == split]
    file_of: dict[str, Path] = {}
    notes: list[str] = []
    captions_of = {}
    for file in files:
        captions_of[file], _ = read_captions(file, columns=config.columns, notes=notes)
    for file, own_captions in separate_photos(captions_of, group).items():
        check_overlap(file, own_captions, captions, file_of, group)
        for name, texts in own_captions.items():
            if name not in captions:
                captions[name] = texts
                file_of[name] = file
                splits[group[file]].append(name)
    is_by_user = not any(rank_of(file.name) < len(CAPTION_FILES) for file in files)
    parts = "the files" if is_by_user else "the parts that the data set comes in,"
    source = f"{parts} {join_names(files)}"
    if "validation" not in splits:
        take_validation(splits)
        source += "; validation: a tenth of train, by a hash of each name"
    own_splits = OwnSplits(splits, source, is_by_user)
    return DataSet(files, captions, own_splits, notes=notes)


def separate_photos(captions_of: dict[Path, Captions], group: Group) -> dict[Path, Captions]:
    """The captions of each file, with different names for different photos.

    `train/metadata.csv` and `val/metadata.csv` may both name a `1.jpg`, and each means the one in
    its own folder: they become `train/1.jpg` and `val/1.jpg`.
    """
    counts = Counter(name for captions in captions_of.values() for name in captions)
    if max(counts.values(), default=0) < 2:
        return captions_of
    root = Path(os.path.commonpath([file.parent for file in captions_of]))
    separated: dict[Path, Captions] = {}
    for file, captions in captions_of.items():
        folders = [file.parent, *split_folders(file.parent, group[file])]
        separated[file] = {}
        for name, texts in captions.items():
            separated[file][path_below(root, folders, name)] = texts
    return separated


def split_folders(folder: Path, split: str) -> list[Path]:
    """The folders in a folder that are named after a split."""
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in subfolders if split_of_name(path.name) == split]


def path_below(root: Path, folders: Iterable[Path], name: str) -> str:
    """The path of a photo that is in one of the folders, from `root` on; else its name."""
    for folder in folders:
        if (folder / name).is_file():
            return (folder / name).relative_to(root).as_posix()
    return name


def check_overlap(
    file: Path, own_captions: Captions, captions: Captions, file_of: dict[str, Path], group: Group
) -> None:
    """Raise an error if a photo of a file is in another split, or has other captions elsewhere."""
    for name, texts in own_captions.items():
        if name not in captions:
            continue
        earlier = file_of[name]
        if group[earlier] != group[file]:
            raise CaptionsError(
                f"{file}: {name} is also in {show_path(earlier)}, so it is in two splits: remove "
                "it from one of them"
            )
        check_same_captions(name, texts, captions, f"{earlier} and {file}")


def check_same_captions(name: str, texts: list[str], captions: Captions, files: str) -> None:
    """Raise an error if two files give one photo different captions.

    Args:
        name: The photo.
        texts: Its captions in one file.
        captions: The captions in the other.
        files: The names of both, for the error.
    """
    if normalize_captions(texts) != normalize_captions(captions[name]):
        raise CaptionsError(
            f"{files}: give {name} other captions: remove one of the files, or name the right one "
            "with --captions (setting captions_file)"
        )


def normalize_captions(captions: Iterable[str]) -> list[str]:
    """Captions without what differs between copies of a data set: order, case and punctuation."""
    return sorted(" ".join(re.findall(r"\w+", caption.lower())) for caption in captions)


def take_validation(splits: Splits) -> None:
    """Move a tenth of the training photos, chosen by a hash, to a validation split; in place."""
    by_hash = sorted(splits["train"], key=hash_name)
    count = max(1, len(by_hash) // 10)
    validation = set(by_hash[:count])
    splits["validation"] = [name for name in splits["train"] if name in validation]
    splits["train"] = [name for name in splits["train"] if name not in validation]


def why_ignored(file: CaptionsFile, chosen: DataSet, config: Config) -> str:
    """Why a captions file is not used.

    Raises:
        CaptionsError: It contradicts the files that are used.
    """
    if config.captions_file:
        return "another one is named"
    if any(filecmp.cmp(file.path, path, shallow=False) for path in chosen.files):
        return "a copy"
    if file.format == KARPATHY:
        return "except for its split, if nothing else gives one"
    if fnmatchcase(file.path.name, LEMMATIZED_FILES):
        return "base forms of words"
    try:
        captions, _ = read_captions(file.path, columns=config.columns)
    except CaptionsError as error:
        return f"cannot be read: {error}"
    common = [name for name in captions if name in chosen.captions]
    files = f"{', '.join(str(path) for path in chosen.files)} and {file.path}"
    for name in common:
        check_same_captions(name, captions[name], chosen.captions, files)
    if not common:
        return "captions of other photos"
    others = len(captions) - len(common)
    return f"the same captions, and {others} other photos" if others else "the same captions"


# === Names in messages ===


def show_path(path: Path) -> str:
    """A path below the inputs, for the user."""
    folder = input_folder()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def join_names(paths: Iterable[Path]) -> str:
    """The names of files, separated by commas."""
    return ", ".join(path.name for path in paths)
