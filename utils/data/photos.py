"""Which photos there are, what their captions are, and which split each belongs to.

Everything is found by file name, at any depth in the inputs, because Kaggle mounts the same data
set at different places.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from utils.config import Config
from utils.data.data_set import DataSet, find_data_set, read_data_set
from utils.data.name_matching import (
    IMAGE_SUFFIXES,
    Matches,
    match_names,
    split_name,
    without_case,
)
from utils.data.splits import Splits, drop_duplicates, find_splits
from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.paths import REPOSITORY, find_files, find_input, working_folder
from utils.sample.dataset import write_sample

# So many photos of a small data set may be skipped, even if `max_skipped` allows fewer.
FEW_PHOTOS = 5
FEW_FRACTION = 0.2
MY_PHOTOS_DIR = REPOSITORY / "data" / "my_photos"  # photos for 05_visualize to caption


@dataclass(frozen=True)
class Photos:
    """Captioned photos.

    Attributes:
        source: What was found, and where, for the user.
        split_source: Where the split comes from, for the user.
        paths: The file of each photo, by name.
        captions: The human captions of each photo, by name.
        splits: The names in "train", "validation" and "test".
        subsets: Other lists of names, such as the sample's "unseen".
        skipped: The names that are not used, with the reason.
        notes: What else the user should know.
    """

    source: str
    split_source: str
    paths: dict[str, Path]
    captions: dict[str, list[str]]
    splits: Splits
    subsets: Splits
    skipped: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """All photos of the three splits, in a fixed order."""
        return [name for names in self.splits.values() for name in names]

    @property
    def unlisted(self) -> list[str]:
        """Captioned photos that are in no split, because its lists do not name them."""
        known = {*self.names, *self.skipped}
        return [name for name in self.captions if name not in known]


@os_errors_as_caption_errors()
def find_photos(config: Config) -> Photos:
    """Find the photos of a run: the drawn sample, drawn where it is missing, or the inputs.

    Raises:
        CaptionsError: There are no captions, no photos or no split, or too many are unusable.
    """
    if config.preset == "sample":
        folder = working_folder(config) / "sample"
        write_sample(folder)
        return read_photos(
            read_data_set(folder / "captions.txt"), "the drawn sample", config, folder
        )
    data_set = find_data_set(config)
    if data_set is None:
        raise CaptionsError(
            "captions.txt: not found in the inputs: put Flickr8k into the folder that "
            "CAPTIONS_INPUT names, or set CAPTIONS_PRESET=sample"
        )
    return read_photos(data_set, data_set.source, config)


def read_photos(
    data_set: DataSet, source: str, config: Config, folder: Path | None = None
) -> Photos:
    """Find the photos and the lists of splits that belong to captions.

    Args:
        data_set: The captions.
        source: A description of them for the user.
        config: The configuration of the run.
        folder: The folder of the drawn sample.
    """
    captions = data_set.captions
    matches, uncaptioned = find_images(folder or data_set.folder, captions)
    paths = matches.paths
    skipped = skip_unusable(captions, matches, uncaptioned)
    names = [name for name in captions if name not in skipped]
    splits, split_source, subsets = find_splits(names, data_set.own_splits, config, folder)
    skipped.update(drop_duplicates(splits, paths))
    check_skipped(skipped, len(captions) + len(uncaptioned), source, config)
    check_splits(splits, source, split_source, len(names))
    notes = [*data_set.notes, *describe_inexact(matches)]
    return Photos(source, split_source, paths, captions, splits, subsets, skipped, notes)


def skip_unusable(
    captions: dict[str, list[str]], matches: Matches, uncaptioned: list[str]
) -> dict[str, str]:
    """The names without one image or without a caption, with the reason."""
    skipped = dict.fromkeys(uncaptioned, "no caption")
    for name in captions:
        if name not in matches.paths:
            skipped[name] = matches.problems.get(name, "no image")
    for name in matches.paths:
        if not captions[name]:
            skipped[name] = "no caption"
    return skipped


def describe_inexact(matches: Matches) -> list[str]:
    """A line on the photos whose files have other names than the captions file gives them."""
    if not matches.inexact:
        return []
    name = matches.inexact[0]
    return [
        f"{len(matches.inexact):,} photos are found in another case or with another suffix, e.g. "
        f"{matches.paths[name].name} for {name}"
    ]


def check_splits(splits: Splits, source: str, split_source: str, photos: int) -> None:
    """Raise an error if a needed split is empty, or if a photo is in two splits."""
    for split in ("train", "validation"):
        if not splits[split]:
            raise CaptionsError(
                f"{source}: the {split} split ({split_source}) has none of {photos} photos: "
                "check the lists of the split, or add photos"
            )
    counts = Counter(name for names in splits.values() for name in names)
    for name, count in counts.items():
        if count > 1:
            raise CaptionsError(f"{source}: {name} is in two splits: check the lists of the split")


def find_images(folder: Path, names: Iterable[str]) -> tuple[Matches, list[str]]:
    """Find the images of captioned photos, at any depth in `folder`, or else in the inputs.

    Args:
        folder: Where they are looked for first.
        names: The names of the photos; a name may contain folders, such as `train/1.jpg`.

    Returns:
        The files of the photos, in the place that has more of them, and the names of images beside
        these that have no captions.

    Raises:
        CaptionsError: None is found.
    """
    names = list(names)
    excluded = my_photos_prefixes(folder)
    best = Matches()
    images: list[Path] = []
    captioned = {without_case(split_name(name)[-1]) for name in names}
    for candidates in (find_files(folder), find_input("*")):
        # An image without the suffix of one is found if the captions file names it.
        found = [
            path for path in candidates if is_image(path) or without_case(path.name) in captioned
        ]
        found = [path for path in found if not os.path.abspath(path).startswith(excluded)]
        matches = match_names(names, found)
        if not images or len(matches.paths) > len(best.paths):
            best = matches
            images = found
        if len(best.paths) == len(names):
            break
    if not best.paths:
        raise CaptionsError(describe_unmatched(folder, names, images, best))
    return best, names_without_caption(images, best)


def describe_unmatched(folder: Path, names: list[str], images: list[Path], matches: Matches) -> str:
    """The error that none of the captioned photos is found."""
    if not names:
        return f"{folder}: the captions file names no photo: add a row for each caption"
    examples = f"e.g. {names[0]}"
    if matches.problems:
        name, problem = next(iter(matches.problems.items()))
        examples = f"{name}: {problem}"
    elif images:
        examples += f", but {len(images)} others, e.g. {images[0].name}"
    return (
        f"{folder}: none of the {len(names)} captioned photos is here or in the inputs "
        f"({examples}): put them beside the captions file, with the names that it gives them"
    )


def my_photos_prefixes(folder: Path) -> tuple[str, ...]:
    """How the paths of the user's uncaptioned photos for 05_visualize begin.

    They may lie within the folder of a data set, but are no part of it. There are none if the
    data set itself is among them.
    """
    prefixes = []
    for data in (MY_PHOTOS_DIR.parent, MY_PHOTOS_DIR.parent.resolve()):
        prefixes.append(f"{data / MY_PHOTOS_DIR.name}{os.sep}")
    if f"{folder.resolve()}{os.sep}".startswith(tuple(prefixes)):
        return ()
    return tuple(prefixes)


def names_without_caption(images: list[Path], matches: Matches) -> list[str]:
    """The names of images that lie beside captioned ones and have no captions."""
    folders = {path.parent for path in matches.paths.values()}
    captioned = {path.name for path in matches.paths.values()}
    captioned |= {Path(name).name for name in matches.problems}
    deepest_first = sorted(images, key=lambda path: (-len(path.parts), path.parts))
    uncaptioned = []
    for path in deepest_first:
        if path.parent in folders and path.name not in captioned:
            uncaptioned.append(path.name)
    return uncaptioned


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name, and not a `._` file of macOS."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


def check_skipped(skipped: dict[str, str], total: int, source: str, config: Config) -> None:
    """Raise an error if more photos are skipped than `max_skipped_photos` allows."""
    if len(skipped) <= max_skipped_photos(total, config):
        return
    examples = [f"{name} ({reason})" for name, reason in list(skipped.items())[:3]]
    raise CaptionsError(
        f"{source}: {len(skipped)} of {total} photos cannot be used, e.g. {', '.join(examples)}: "
        "fix them, or allow it with the setting max_skipped=1"
    )


def max_skipped_photos(total: int, config: Config) -> float:
    """How many of `total` photos may be skipped.

    It is the fraction `max_skipped`; but a few photos do not stop a run on a small data set, unless
    the setting is 0.
    """
    if config.max_skipped == 0:
        return 0
    few = min(FEW_PHOTOS, FEW_FRACTION * total)
    return max(few, config.max_skipped * total)
