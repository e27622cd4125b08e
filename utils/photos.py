"""Which photos there are, what people said of them, and who is train, validation and test.

Everything is found by file name, at any depth under the inputs, because Kaggle mounts the same
data set at different places. Photos are split by photo, never by caption: five captions of one
photo in two splits would let a model be tested on what it has read.
"""

import csv
import hashlib
from collections import Counter
from dataclasses import dataclass

from utils.settings import CaptionsError, find_captions_file, find_input, working_folder
from world.scenes import write_sample

PICTURES = (".jpg", ".jpeg", ".png")
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

    @property
    def names(self):
        """All photos of the three splits, in one fixed order."""
        return [name for split in self.splits.values() for name in split]


def find_photos(settings):
    """The photos of this run: the sample world, drawn when it is not there yet, or what is found.

    Taught in 01_features.
    """
    if settings.preset == "sample":
        folder = working_folder(settings) / "world"
        write_sample(folder)
        return read_photos(folder / "captions.txt", "the drawn sample world", folder)
    file = find_captions_file()
    if file is None:
        raise CaptionsError(
            "captions.txt: not found under the inputs: put Flickr8k into the folder that "
            "CAPTIONS_INPUT names, or set CAPTIONS_PRESET=sample"
        )
    return read_photos(file, f"{file.name} in {file.parent}")


def read_photos(file, source, folder=None):
    """Captions from `file`, the pictures and the split lists that lie around it, as `Photos`."""
    try:
        captions = read_csv(file)
        lists = find_lists(folder)
    except UnicodeDecodeError as error:
        raise CaptionsError(
            f"{file}: it or a split list is not UTF-8 ({error.reason}): save it as UTF-8"
        ) from None
    paths = find_pictures(folder or file.parent, captions)
    if lists.keys() >= {"train", "validation"}:
        splits = {split: lists.pop(split, []) for split in SPLITS}
        split_source = "standard lists" if folder is None else "the sample's own lists"
    else:
        splits = split_by_hash(captions)
        split_source = "own split, by a hash of each name"
    splits = {split: [name for name in names if name in paths] for split, names in splits.items()}
    for split in ("train", "validation"):
        if not splits[split]:
            raise CaptionsError(
                f"{file}: the {split} split ({split_source}) holds none of {len(paths)} photos: "
                "check the split lists, or bring more photos"
            )
    if twice := [name for name, times in Counter(sum(splits.values(), [])).items() if times > 1]:
        raise CaptionsError(f"{file}: {twice[0]} is in two splits: check the split lists")
    return Photos(source, split_source, paths, captions, splits, lists)


def read_csv(file):
    """`image,caption` with a header, as Kaggle has Flickr8k; captions may hold quoted commas."""
    captions = {}
    with open(file, encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines)
        if [name.strip().lower() for name in next(rows, ())] != ["image", "caption"]:
            raise CaptionsError(f"{file}: its first line must name the columns image,caption")
        for name, *parts in filter(None, rows):
            if caption := ",".join(parts).strip():  # a caption's own commas may lack their quotes
                captions.setdefault(name.strip(), []).append(caption)
    return captions


def find_pictures(folder, captions):
    """name -> path of the captioned pictures, at any depth under `folder` or the inputs."""
    for place in (folder.rglob("*"), find_input("*")):
        deepest_first = sorted(place, key=lambda path: (-len(path.parts), path))
        paths = {path.name: path for path in deepest_first if path.suffix.lower() in PICTURES}
        if found := {name: paths[name] for name in captions if name in paths}:
            return found
    raise CaptionsError(
        f"{folder}: none of the {len(captions)} captioned photos lies here or under the inputs, "
        f"e.g. {next(iter(captions), 'none')}: put them beside the captions file"
    )


def find_lists(folder):
    """The lists of names that lie around: `*trainImages.txt` and its like, by split or label."""
    found = sorted(folder.glob("*Images.txt")) if folder else find_input("*Images.txt")
    labels = {label: split for split, label in SPLITS.items()}
    lists = {}
    for path in found:
        label = path.stem.replace("Flickr_8k", "").rpartition(".")[2]
        lines = map(str.strip, path.read_text(encoding="utf-8-sig").splitlines())
        names = dict.fromkeys(filter(None, lines))  # each once
        lists[labels.get(label, label.removesuffix("Images"))] = list(names)
    return lists


def split_by_hash(names):
    """80, 10 and 10 % by a hash of the name: a photo keeps its split when others are added."""
    splits = {split: [] for split in SPLITS}
    for name in sorted(names):
        share = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 10
        splits["train" if share < 8 else "validation" if share == 8 else "test"].append(name)
    return splits
