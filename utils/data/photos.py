"""Which photos there are, what people said of them, and who is train, validation and test.

Everything is found by file name, at any depth under the inputs, because Kaggle mounts the same
data set at different places. Photos are split by photo, never by caption: five captions of one
photo in two splits would let a model be tested on what it has read.
"""

import os
import unicodedata
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from utils.data.caption_files import find_captions_file, read_captions
from utils.data.splits import drop_duplicates, find_splits
from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.paths import REPOSITORY, find_files, find_input, working_folder
from utils.sample.dataset import write_sample

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
MY_PHOTOS_DIR = REPOSITORY / "data" / "my_photos"  # pictures for 05_visualize to caption


@dataclass(frozen=True)
class Photos:
    """Captioned photos: where each lies, its captions, and its split."""

    source: str  # for people: what was found, and where
    split_source: str  # for people: who decided the split
    paths: dict  # name -> path
    captions: dict  # name -> list of captions, as people wrote them
    splits: dict  # "train", "validation", "test" -> list of names
    subsets: dict  # other lists of names beside the splits, e.g. the sample's "unseen"
    skipped: dict  # name -> why it is not used, e.g. "no picture"

    @property
    def names(self):
        """All photos of the three splits, in one fixed order."""
        return [name for split in self.splits.values() for name in split]


@os_errors_as_caption_errors()
def find_photos(config):
    """The photos of this run: the sample world, drawn when it is not there yet, or what is found.

    Taught in 01_features.
    """
    if config.preset == "sample":
        folder = working_folder(config) / "sample"
        write_sample(folder)
        return read_photos(folder / "captions.txt", "the drawn sample world", config, folder)
    file = find_captions_file()
    if file is None:
        raise CaptionsError(
            "captions.txt: not found under the inputs: put Flickr8k into the folder that "
            "CAPTIONS_INPUT names, or set CAPTIONS_PRESET=sample"
        )
    return read_photos(file, f"{file.name} in {file.parent}", config)


def read_photos(file, source, config, folder=None):
    """Captions from `file`, the pictures and the split lists that lie around it, as `Photos`."""
    files = sorted(file.parent.glob("captions_*20*.json")) if "captions_" in file.name else [file]
    captions, own = read_captions(*files)
    paths, spare = find_images(folder or file.parent, captions)
    skipped = dict.fromkeys(spare, "no caption")
    skipped |= {name: "no picture" for name in captions if name not in paths}
    skipped |= {name: "no caption" for name in paths if not captions[name]}
    names = [name for name in captions if name not in skipped]
    splits, split_source, subsets = find_splits(names, own, config, folder)
    skipped |= drop_duplicates(splits, paths)
    check_skipped(skipped, len(captions) + len(spare), file, config)
    for split in ("train", "validation"):
        if not splits[split]:
            raise CaptionsError(
                f"{file}: the {split} split ({split_source}) holds none of {len(names)} photos: "
                "check the split lists, or bring more photos"
            )
    if twice := [name for name, times in Counter(sum(splits.values(), [])).items() if times > 1]:
        raise CaptionsError(f"{file}: {twice[0]} is in two splits: check the split lists")
    return Photos(source, split_source, paths, captions, splits, subsets, skipped)


def find_images(folder, captions):
    """name -> path of the captioned pictures, at any depth under `folder` or the inputs.

    Beside it the names of the pictures that lie among them and have no captions.
    """
    # Those that 05_visualize captions lie there, too, and nobody has described them.
    mine = tuple(
        f"{data / MY_PHOTOS_DIR.name}{os.sep}"
        for data in (MY_PHOTOS_DIR.parent, MY_PHOTOS_DIR.parent.resolve())
    )
    mine = () if f"{folder.resolve()}{os.sep}".startswith(mine) else mine
    depths = {name.count("/") + 1 for name in captions}  # a name may be `train/1.jpg`
    for place in (find_files(folder), find_input("*")):
        deepest_first = sorted(place, key=lambda path: (-len(path.parts), path))
        pictures = [path for path in deepest_first if is_image(path)]
        pictures = [path for path in pictures if not os.path.abspath(path).startswith(mine)]
        paths = {
            normalize_name("/".join(path.parts[-depth:])): path
            for depth in depths
            for path in pictures
        }
        if found := {
            name: paths[normalize_name(name)] for name in captions if normalize_name(name) in paths
        }:
            among, used = (
                {getattr(p, part) for p in found.values()} for part in ("parent", "name")
            )
            return found, [p.name for p in pictures if p.parent in among and p.name not in used]
    raise CaptionsError(
        f"{folder}: none of the {len(captions)} captioned photos lies here or under the inputs, "
        f"e.g. {next(iter(captions), 'none')}: put them beside the captions file"
    )


def image_paths(names, config):
    """The paths of these photos, to be shown; none where artifacts are at hand, but no pictures."""
    with suppress(CaptionsError):
        found = find_images(working_folder(config), names)[0]
        return [found[name] for name in names if name in found]
    return []


def is_image(path):
    """Whether a file's name is a picture's, and not that of a Mac's own notes on one."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._")


def normalize_name(name):
    """A name in one spelling: an `é` can be written as one letter or as two."""
    return unicodedata.normalize("NFC", name)


def check_skipped(skipped, total, where, config):
    """Stop when more than the settings allow had to be left out: then something is wrong."""
    if len(skipped) > config.max_skipped * total:
        some = ", ".join(f"{name} ({why})" for name, why in list(skipped.items())[:3])
        raise CaptionsError(
            f"{where}: {len(skipped)} of {total} photos must be left out, e.g. {some}: mend them, "
            "or allow it with the setting max_skipped=1"
        )
