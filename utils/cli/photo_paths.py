"""Which files the commands `caption` and `search` process, and which ones they skip."""

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.cli.output_record import is_record
from utils.data.image_formats import find_image_format
from utils.data.photos import IMAGE_SUFFIXES
from utils.errors import CaptionsError
from utils.paths import find_files

MAX_KINDS = 8  # of skipped files that are named
NO_PHOTO = "no photos"
HIDDEN = "hidden"
UNREADABLE = "cannot be opened"


@dataclass
class PhotoSelection:
    """The photos that a command was given.

    Attributes:
        paths: Each photo once.
        skipped: The reason for each other file in the folders, and its kind, such as `.txt`.
    """

    paths: list[Path] = field(default_factory=list)
    skipped: dict[Path, tuple[str, str]] = field(default_factory=dict)

    def add(self, candidates: Iterable[Path], folder: Path) -> None:
        """Sort files in a folder into photos and others."""
        for path in sorted(candidates):
            reason = skip_reason(path, folder)
            if reason is None:
                self.paths.append(path)
            else:
                self.skipped[path] = reason, path.suffix.lower() or "without suffix"

    def describe_skipped(self) -> str:
        """How many files were skipped, why, and of which kinds; empty if there are none."""
        count = len(self.skipped)
        if count == 0:
            return ""
        groups: dict[str, Counter[str]] = {}
        for reason, kind in self.skipped.values():
            groups.setdefault(reason, Counter())[kind] += 1
        parts = []
        for reason, kinds in groups.items():
            names = [f"{count:,} {kind}" for kind, count in kinds.most_common(MAX_KINDS)]
            if len(kinds) > MAX_KINDS:
                names.append("others")
            parts.append(f"{reason} ({', '.join(names)})")
        files = "file" if count == 1 else "files"
        return f"{count:,} {files} skipped: {', '.join(parts)}"


def collect_photos(patterns: Sequence[str], exclude: str | Path | None = None) -> PhotoSelection:
    """The photos that files, folders and patterns name.

    Args:
        patterns: Files, which are taken whatever they are, folders, and patterns.
        exclude: The output of the command, which is neither a photo nor skipped. Nor are the
            records of outputs.

    Raises:
        CaptionsError: One of the names leads to no photo.
    """
    selection = PhotoSelection()
    for pattern in patterns:
        found = expand_pattern(pattern, exclude)
        selection.paths.extend(found.paths)
        selection.skipped.update(found.skipped)
    selection.paths = list(dict.fromkeys(selection.paths))
    for path in selection.paths:  # named on their own, too
        selection.skipped.pop(path, None)
    return selection


def expand_pattern(pattern: str, exclude: str | Path | None = None) -> PhotoSelection:
    """The photos that one file, folder or pattern names."""
    place = Path(pattern)
    if place.is_file():
        return PhotoSelection([place])
    selection = PhotoSelection()
    if place.is_dir():
        candidates = list(find_files(place))
        for folder in unreadable_folders(place):
            selection.skipped[folder] = UNREADABLE, "folder"
    elif glob.has_magic(pattern):
        candidates = match_pattern(pattern)
        if not candidates:
            raise CaptionsError(f"{pattern}: matches no file: name another file or folder")
    else:
        raise CaptionsError(f"{pattern}: does not exist: name another file or folder")
    if exclude is not None:
        output = Path(exclude).absolute()
        candidates = [path for path in candidates if path.absolute() != output]
    candidates = [path for path in candidates if not is_record(path)]
    selection.add(candidates, place)
    if not selection.paths:
        content = selection.describe_skipped() or "it is empty"
        raise CaptionsError(f"{pattern}: contains no photos ({content}): name another folder")
    return selection


def match_pattern(pattern: str) -> list[Path]:
    """The files that a pattern matches, and those in the folders that it matches.

    `**` stands for any number of folders, as in `photos/**/*.jpg`.
    """
    files: dict[Path, None] = {}  # a dict as an ordered set
    for match in sorted(map(Path, glob.glob(pattern, recursive=True))):
        for path in find_files(match) if match.is_dir() else [match]:
            if path.is_file():
                files[path] = None
    return list(files)


def unreadable_folders(folder: Path) -> list[Path]:
    """The folders below a folder, or itself, that may not be read."""
    unreadable = []
    errors: list[OSError] = []
    for _ in os.walk(folder, onerror=errors.append):
        pass
    for error in errors:
        unreadable.append(Path(error.filename))
    return unreadable


def skip_reason(path: Path, folder: Path) -> str | None:
    """Why a file in a folder is no photo to process, or None if it is one."""
    inner = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    if any(part.startswith(".") for part in inner.parts):
        return HIDDEN
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return None  # if it is damaged, it is reported as that
    try:
        return None if find_image_format(path) else NO_PHOTO
    except OSError:
        return UNREADABLE


def report_skipped(selection: PhotoSelection) -> None:
    """Say on stderr how many files were skipped, and why."""
    if selection.skipped:
        print(selection.describe_skipped(), file=sys.stderr)
