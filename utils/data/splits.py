"""TODO"""

import filecmp
import hashlib
import os
from collections import defaultdict
from contextlib import suppress
from itertools import chain

from utils.data import download
from utils.data.caption_files import read_captions, read_text
from utils.errors import CaptionsError
from utils.paths import find_files, find_input, on_kaggle, working_folder

SPLITS = {"train": "trainImages", "validation": "devImages", "test": "testImages"}


def find_splits(names, own, config, folder=None):
    """Splits of `names`, who decided them, and the other lists there are.

    The first that knows any of them decides: lists that lie around, or are fetched on Kaggle, whose
    Flickr8k lacks them; a file of Karpathy's; the captions files' `own` parts; else a hash.
    """
    lists = find_lists(folder)
    if not lists and on_kaggle() and len(names) == download.PHOTOS:
        with suppress(CaptionsError):  # without a network the line on the split says so
            download.download(working_folder(config), download.LISTS)
        lists = find_lists(working_folder(config))
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
    found = sorted(find_files(folder, "*Images.txt")) if folder else find_input("*Images.txt")
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


def drop_duplicates(splits, paths):
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
