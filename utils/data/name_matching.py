"""Which files are meant by the names of photos in a captions file.

The names may be those of another computer: absolute paths, with the separators of Windows, in
another case, or without a suffix.
"""

import filecmp
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".avif",
    ".heic",
    ".heif",
)
# A regular expression for the end of the name of an image, in any case.
IMAGE_SUFFIX = rf"(?i:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})"


@dataclass
class Matches:
    """The files of photos by name.

    Attributes:
        paths: The file of each name that is found.
        problems: The names whose file is in doubt, with the reason.
        inexact: The names that are found in another case or with another suffix.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    inexact: list[str] = field(default_factory=list)


class Candidates(NamedTuple):
    """The files that a name fits equally well.

    Attributes:
        files: The files, those in the shallowest folders first.
        fit: How well the name fits; the greater, the better.
    """

    files: list[Path]
    fit: tuple[int, bool, int]


# === How names are compared ===


def exact(name: str) -> str:
    """A name in one Unicode form: an `é` can be one character or two."""
    return unicodedata.normalize("NFC", name)


def without_case(name: str) -> str:
    """A name in lower case."""
    return exact(name).casefold()


def stem(name: str) -> str:
    """A name in lower case, without the suffix of an image, and a number without zeros before it.

    COCO's image 42 is in the file `000000000042.jpg`.
    """
    start = re.sub(f"{IMAGE_SUFFIX}$", "", without_case(name))
    return start.lstrip("0") or "0" if start.isdecimal() else start


# From the strictest to the most tolerant.
COMPARISONS: tuple[Callable[[str], str], ...] = (exact, without_case, stem)


# === Match ===


def match_names(names: Sequence[str], files: Sequence[Path]) -> Matches:
    """Find the file of each name: by path, else by file name, case-insensitively, or by stem.

    Of several files that fit equally well, the one in the shallowest folder is meant; with a stem
    alone, none. Two different files at equal depth are in doubt, and so is one file that fits two
    names equally well.

    Args:
        names: The names in the captions file.
        files: The images that there are.
    """
    candidates: dict[str, Candidates] = {}
    for number, compare in enumerate(COMPARISONS):
        missing = [name for name in names if name not in candidates]
        if missing:
            candidates |= find_candidates(missing, files, compare, -number)
    matches = Matches()
    for name, found in candidates.items():
        if all_identical(found.files):
            matches.paths[name] = found.files[0]
        else:
            listed = " and ".join(str(path) for path in found.files[:2])
            matches.problems[name] = f"different images have its name: {listed}"
    settle_shared_files(matches, candidates)
    for name in matches.paths:
        if candidates[name].fit[0] < 0:
            matches.inexact.append(name)
    return matches


def match_listed(listed: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Find the name that each entry of a list stands for, by the rules of `match_names`.

    Args:
        listed: The entries of a list, which may lack folders and suffixes that the names have.
        names: The names in the captions file.

    Returns:
        The names of the entries that stand for exactly one.
    """
    name_of = {Path(*split_name(name)): name for name in names}
    found: dict[str, str] = {}
    for compare in COMPARISONS:
        missing = [entry for entry in listed if entry not in found]
        for entry, candidates in find_candidates(missing, list(name_of), compare, 0).items():
            if len(candidates.files) == 1:
                found[entry] = name_of[candidates.files[0]]
    return found


def find_candidates(
    names: Sequence[str], files: Sequence[Path], compare: Callable[[str], str], rank: int
) -> dict[str, Candidates]:
    """The candidates of the names that have some.

    Args:
        names: The names.
        files: The images that there are.
        compare: Two names are the same if this makes them equal.
        rank: The first part of the fit of what is found.
    """
    files_by_name: dict[str, list[Path]] = defaultdict(list)
    # Python compares the parts of paths faster than the paths.
    for path in sorted(files, key=lambda path: (len(path.parts), path.parts)):
        files_by_name[compare(path.name)].append(path)
    candidates = {}
    for name in names:
        parts = split_name(name)
        found = files_by_name.get(compare(parts[-1]), [])
        if not found:
            continue
        lengths = [common_length(path.parts, parts, compare) for path in found]
        longest = max(lengths)
        best = [path for path, length in zip(found, lengths, strict=True) if length == longest]
        if compare is not stem:
            best = [path for path in best if len(path.parts) == len(best[0].parts)]
        candidates[name] = Candidates(best, (rank, longest == len(parts), longest))
    return candidates


def split_name(name: str) -> list[str]:
    """The parts of a path with the separators of any system, or of an address of the web."""
    if re.match(r"https?://", name):
        name = re.split(r"[?#]", name)[0]
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".", "..")]
    return parts or [name]


def common_length(first: Sequence[str], second: Sequence[str], compare: Callable) -> int:
    """How many last parts two paths have in common; at least the file name."""
    length = 1
    for one, other in zip(reversed(first[:-1]), reversed(second[:-1]), strict=False):
        if compare(one) != compare(other):
            break
        length += 1
    return length


def all_identical(files: Sequence[Path]) -> bool:
    """Whether files are copies of one."""
    return all(filecmp.cmp(files[0], other, shallow=False) for other in files[1:])


def settle_shared_files(matches: Matches, candidates: dict[str, Candidates]) -> None:
    """Leave a file that fits several names to the one that it fits best.

    Captions of `a/1.jpg` and `b/1.jpg` must not both get the only `1.jpg` that there is.

    Args:
        matches: Changed in place.
        candidates: The candidates of each name.
    """
    names_by_file: dict[Path, list[str]] = defaultdict(list)
    for name, path in matches.paths.items():
        names_by_file[path].append(name)
    for path, names in names_by_file.items():
        best = max(candidates[name].fit for name in names)
        fitting = [name for name in names if candidates[name].fit == best]
        for name in names:
            if len(names) > 1 and fitting != [name]:
                other = next(each for each in [*fitting, *names] if each != name)
                matches.problems[name] = f"its image, {path}, is that of {other}, too"
                del matches.paths[name]
