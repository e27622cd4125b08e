"""Where the photos are that 01_features has read, so that the later notebooks show the same ones.

`features.pkl` records the file of each photo and what identifies its contents. A photo is never
looked for by its name alone: another image of that name would be shown with a caption that does
not describe it.
"""

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from utils.config import Config
from utils.data.images import image_error
from utils.data.photos import Photos
from utils.errors import CaptionsError
from utils.paths import find_input, input_folder, working_folder
from utils.sample.dataset import write_sample

END_BYTES = 4096


def readable_names(photos: Photos, split: str, count: int) -> list[str]:
    """The first photos of a split that can be read.

    Args:
        photos: The photos of the run.
        split: One of its splits.
        count: How many names are wanted, if there are so many.

    Raises:
        CaptionsError: None can be read.
    """
    names: list[str] = []
    reason = ""
    for name in photos.splits[split]:
        if len(names) == count:
            break
        error = image_error(photos.paths[name])
        if error is None:
            names.append(name)
        else:
            reason = f"{name} ({error})"
    if not names:
        raise CaptionsError(
            f"the {split} split: none of its {len(photos.splits[split])} photos can be read, e.g. "
            f"{reason}: replace them"
        )
    return names


def record_files(paths: Mapping[str, Path], config: Config) -> dict[str, list]:
    """The file of each photo as `[path, content hash]`, for features.pkl.

    The path is relative to the input folder, which may be elsewhere when a later notebook runs; a
    photo outside has its full path. The drawn sample needs no record: its files have fixed names.
    """
    if config.preset == "sample":
        return {}
    root = Path(os.path.abspath(input_folder()))
    files: dict[str, list] = {}
    for name, path in paths.items():
        recorded = Path(os.path.abspath(path))
        if recorded.is_relative_to(root):
            recorded = recorded.relative_to(root)
        files[name] = [recorded.as_posix(), hash_ends(path)]
    return files


def hash_ends(path: Path) -> str:
    """A hash of a file's size, its first and its last bytes, which tells photos apart."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        first_bytes = file.read(END_BYTES)
        file.seek(max(0, size - END_BYTES))
        last_bytes = file.read()
    content = b"%d " % size + first_bytes + last_bytes
    return hashlib.sha256(content).hexdigest()[:16]


def recorded_paths(
    names: Collection[str], features: Mapping[str, Any], config: Config
) -> list[Path | None]:
    """The files of photos, to show them; a line says how many are not on this machine.

    A file that is not where 01_features has read it is looked for in the inputs, by its name and
    its contents. The sample is drawn where it is missing.

    Args:
        names: The photos.
        features: The data of features.pkl.
        config: The configuration of the run.

    Returns:
        A file for each photo, or None where it is missing.
    """
    if config.preset == "sample":
        folder = working_folder(config) / "sample"
        write_sample(folder)
        return [folder / "Images" / name for name in names]
    files = features.get("files", {})  # features of earlier versions have none
    paths: dict[str, Path] = {}
    for name in names:
        if name in files and is_recorded(*files[name]):
            paths[name] = input_folder() / files[name][0]  # a full path stays what it is
    moved = {name: files[name] for name in names if name in files and name not in paths}
    if moved:
        paths |= find_moved(moved)
    missing = [name for name in names if name not in paths]
    if missing:
        print(
            f"{len(missing):,} of {len(names):,} photos are not where 01_features has read them, "
            f"e.g. {missing[0]}: they are shown as gray squares"
        )
    return [paths.get(name) for name in names]


def is_recorded(recorded: str, content_hash: str) -> bool:
    """Whether the file at a recorded path has the recorded contents."""
    path = input_folder() / recorded
    return path.is_file() and hash_ends(path) == content_hash


def find_moved(files: Mapping[str, list]) -> dict[str, Path]:
    """Files in the inputs with the name and the contents of recorded ones, by name of the photo."""
    wanted_names = {Path(recorded).name for recorded, _ in files.values()}
    candidates = {}
    for path in find_input("*"):
        if path.name in wanted_names:
            candidates[path.name, hash_ends(path)] = path
    found = {}
    for name, (recorded, content_hash) in files.items():
        key = Path(recorded).name, content_hash
        if key in candidates:
            found[name] = candidates[key]
    return found
