"""Which photos there are, what people said of them, and who is train, validation and test.

Everything is found by file name, at any depth under the inputs, because Kaggle mounts the same
data set at different places. Photos are split by photo, never by caption: five captions of one
photo in two splits would let a model be tested on what it has read.
"""

import filecmp
import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from utils.settings import (
    REPOSITORY,
    CaptionsError,
    find_captions_file,
    find_input,
    find_under,
    on_kaggle,
    told,
    working_folder,
)
from world import download
from world.readers import read_captions, read_text
from world.scenes import write_sample

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
MINE = REPOSITORY / "data" / "my_photos"  # pictures for 05_visualize to caption
SPLITS = {"train": "trainImages", "validation": "devImages", "test": "testImages"}


@dataclass(frozen=True)
class Photos:
    """Captioned photos: where each lies, its captions, and its split."""

    source: str  # for people: what was found, and where
    split_source: str  # for people: who decided the split
    paths: dict  # name -> path
    captions: dict  # name -> list of captions, as people wrote them
    splits: dict  # "train", "validation", "test" -> list of names
    marked: dict  # other lists of names beside the splits, e.g. the sample's "unseen"
    left_out: dict  # name -> why it is not used, e.g. "no picture"

    @property
    def names(self):
        """All photos of the three splits, in one fixed order."""
        return [name for split in self.splits.values() for name in split]


@told()
def find_photos(settings):
    """The photos of this run: the sample world, drawn when it is not there yet, or what is found.

    Taught in 01_features.
    """
    if settings.preset == "sample":
        folder = working_folder(settings) / "world"
        write_sample(folder)
        return read_photos(folder / "captions.txt", "the drawn sample world", settings, folder)
    file = find_captions_file()
    if file is None:
        raise CaptionsError(
            "captions.txt: not found under the inputs: put Flickr8k into the folder that "
            "CAPTIONS_INPUT names, or set CAPTIONS_PRESET=sample"
        )
    return read_photos(file, f"{file.name} in {file.parent}", settings)


def read_photos(file, source, settings, folder=None):
    """Captions from `file`, the pictures and the split lists that lie around it, as `Photos`."""
    files = sorted(file.parent.glob("captions_*20*.json")) if "captions_" in file.name else [file]
    captions, own = read_captions(*files)
    paths, spare = find_pictures(folder or file.parent, captions)
    left_out = dict.fromkeys(spare, "no caption")
    left_out |= {name: "no picture" for name in captions if name not in paths}
    left_out |= {name: "no caption" for name in paths if not captions[name]}
    names = [name for name in captions if name not in left_out]
    splits, split_source, marked = find_splits(names, own, settings, folder)
    left_out |= drop_copies(splits, paths)
    check_left_out(left_out, len(captions) + len(spare), file, settings)
    for split in ("train", "validation"):
        if not splits[split]:
            raise CaptionsError(
                f"{file}: the {split} split ({split_source}) holds none of {len(names)} photos: "
                "check the split lists, or bring more photos"
            )
    if twice := [name for name, times in Counter(sum(splits.values(), [])).items() if times > 1]:
        raise CaptionsError(f"{file}: {twice[0]} is in two splits: check the split lists")
    return Photos(source, split_source, paths, captions, splits, marked, left_out)


def find_pictures(folder, captions):
    """name -> path of the captioned pictures, at any depth under `folder` or the inputs.

    Beside it the names of the pictures that lie among them and have no captions.
    """
    # Those that 05_visualize captions lie there, too, and nobody has described them.
    mine = tuple(f"{data / MINE.name}{os.sep}" for data in (MINE.parent, MINE.parent.resolve()))
    mine = () if f"{folder.resolve()}{os.sep}".startswith(mine) else mine
    depths = {name.count("/") + 1 for name in captions}  # a name may be `train/1.jpg`
    for place in (find_under(folder), find_input("*")):
        deepest_first = sorted(place, key=lambda path: (-len(path.parts), path))
        pictures = [path for path in deepest_first if is_picture(path)]
        pictures = [path for path in pictures if not os.path.abspath(path).startswith(mine)]
        paths = {same("/".join(path.parts[-depth:])): path for depth in depths for path in pictures}
        if found := {name: paths[same(name)] for name in captions if same(name) in paths}:
            among, used = (
                {getattr(p, part) for p in found.values()} for part in ("parent", "name")
            )
            return found, [p.name for p in pictures if p.parent in among and p.name not in used]
    raise CaptionsError(
        f"{folder}: none of the {len(captions)} captioned photos lies here or under the inputs, "
        f"e.g. {next(iter(captions), 'none')}: put them beside the captions file"
    )


def pictures_of(names, settings):
    """The paths of these photos, to be shown; none where artifacts are at hand, but no pictures."""
    with suppress(CaptionsError):
        found = find_pictures(working_folder(settings), names)[0]
        return [found[name] for name in names if name in found]
    return []


def is_picture(path):
    """Whether a file's name is a picture's, and not that of a Mac's own notes on one."""
    return path.suffix.lower() in PICTURES and not path.name.startswith("._")


def same(name):
    """A name in one spelling: an `é` can be written as one letter or as two."""
    return unicodedata.normalize("NFC", name)


def check_left_out(left_out, total, where, settings):
    """Stop when more than the settings allow had to be left out: then something is wrong."""
    if len(left_out) > settings.max_left_out * total:
        some = ", ".join(f"{name} ({why})" for name, why in list(left_out.items())[:3])
        raise CaptionsError(
            f"{where}: {len(left_out)} of {total} photos must be left out, e.g. {some}: mend them, "
            "or allow it with the setting max_left_out=1"
        )


def find_splits(names, own, settings, folder=None):
    """Splits of `names`, who decided them, and the other lists there are.

    The first that knows any of them decides: lists that lie around, or are fetched on Kaggle, whose
    Flickr8k lacks them; a file of Karpathy's; the captions files' `own` parts; else a hash.
    """
    lists = find_lists(folder)
    if not lists and on_kaggle() and len(names) == download.PHOTOS:
        with suppress(CaptionsError):  # without a network the line on the split says so
            download.download(working_folder(settings), download.LISTS)
        lists = find_lists(working_folder(settings))
    first = lists, "standard lists" if folder is None else "the sample's own lists"
    jsons = [] if folder else find_input("dataset_*.json")
    jsons = ((read_captions(path)[1], "standard lists") for path in jsons)  # read if it comes to it
    last, known = (own, "the parts that the data set comes in"), set(names)
    for offer, source in chain([first], jsons, [last]):  # noqa: B007
        if {"train", "validation"} <= offer.keys() and not known.isdisjoint(chain(*offer.values())):
            break
    else:
        offer, source = split_by_hash(names), "own split, by a hash of each name"
    splits = {split: [name for name in offer.get(split, []) if name in known] for split in SPLITS}
    return splits, source, {label: names for label, names in lists.items() if label not in SPLITS}


def find_lists(folder=None):
    """The lists of names that lie around: `*trainImages.txt` and its like, by split or label."""
    found = sorted(find_under(folder, "*Images.txt")) if folder else find_input("*Images.txt")
    labels = {label: split for split, label in SPLITS.items()}
    lists = {}
    for path in found:
        label = path.stem.replace("Flickr_8k", "").rpartition(".")[2]
        names = dict.fromkeys(filter(None, map(str.strip, read_text(path).splitlines())))
        lists[labels.get(label, label.removesuffix("Images"))] = list(names)  # each once
    return lists


def split_by_hash(names):
    """80, 10 and 10 % by a hash of the name: a photo keeps its split when others are added."""
    splits = {split: [] for split in SPLITS}
    for name in sorted(names):
        share = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 10
        splits["train" if share < 8 else "validation" if share == 8 else "test"].append(name)
    return splits


def drop_copies(splits, paths):
    """Take a picture that two splits hold under two names out of the first; returns the reasons.

    The test split keeps all of its photos, so that scores stay comparable.
    """
    where = {name: place for place, names in enumerate(splits.values()) for name in names}
    alike, dropped = defaultdict(list), {}
    for name in where:
        with open(paths[name], "rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - 4096)
            file.seek(start)
            alike[start, hash(file.read())].append(name)  # equal ends; then compared in full
    for names in alike.values():
        kept = max(names, key=where.get)
        for name in names:
            if where[name] < where[kept] and filecmp.cmp(paths[name], paths[kept], shallow=False):
                dropped[name] = f"the same picture as {kept}"
    for split, names in splits.items():
        splits[split] = [name for name in names if name not in dropped]
    return dropped
