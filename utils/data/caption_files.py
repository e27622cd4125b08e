"""Captions files as their data sets ship them: names of photos, captions, sometimes splits.

Flickr8k and Flickr30k from Kaggle and from their authors, COCO, Karpathy's JSON, and any table with
the columns image and caption.
"""

import csv
import io
import json
import os
import re

from utils.errors import CaptionsError
from utils.paths import find_input, input_folder, on_kaggle, require_identical

# What tells a folder of captioned photos, by the file name that each data set is known for:
# Flickr8k and Flickr30k from Kaggle and from their authors, COCO, Karpathy's, any such table.
CAPTION_FILES = ("captions.txt", "Flickr8k.token.txt", "results.csv", "results_2013*.token")
CAPTION_FILES += ("captions_train20*.json", "captions_val20*.json", "dataset_*.json", "*.csv")

# What people call the two columns of such a table.
CAPTION_COLUMNS = (("image", "image_name", "filename", "file_name"), ("caption", "comment"))


def detect_preset():
    """`flickr8k` where captioned photos are found, else `sample`; on Kaggle there must be some."""
    if preset := os.environ.get("CAPTIONS_PRESET"):
        return preset
    if find_captions_file():
        return "flickr8k"
    if folder := os.environ.get("CAPTIONS_INPUT"):
        raise CaptionsError(f"{folder}: holds no {' or '.join(CAPTION_FILES)}: name another folder")
    if on_kaggle():
        raise CaptionsError(
            f"no captions found under {input_folder()}: attach the dataset adityajn105/flickr8k "
            "with 'Add Input', or set CAPTIONS_PRESET=sample for the drawn sample world"
        )
    return "sample"


def find_captions_file():
    """The file that holds the captions, at any depth under the inputs, or None."""
    for name in CAPTION_FILES:
        found = [
            path for path in find_input(name) if path.suffix != ".csv" or has_caption_columns(path)
        ]
        if file := require_identical(found):
            return file
    return None


def has_caption_columns(path):
    """Whether a table's first line names a column of captions; Flickr30k calls it comment."""
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        first = lines.readline(1000).lower()
    return all(any(name in first for name in names) for names in CAPTION_COLUMNS)


# How reading what has another form than expected can fail.
PARSE_ERRORS = (csv.Error, LookupError, TypeError, ValueError, AttributeError, RecursionError)
SPLIT_NAMES = {"val": "validation", "restval": "train"}  # Karpathy's, where they are not ours


def read_captions(*files):
    """`{name: captions}` of all the files, and `{split: names}` where they say a split."""
    captions, splits = {}, {}
    for file in files:
        read = read_json if file.suffix == ".json" else read_table
        try:
            for name, caption, split in read(file, read_text(file)):
                name = name.strip().removeprefix("./")
                texts = captions.setdefault(name, [])
                texts += [caption] if (caption := " ".join(caption.split())) else []
                if split:
                    splits.setdefault(SPLIT_NAMES.get(split, split), {})[name] = None
        except PARSE_ERRORS as error:
            what = str(error) or type(error).__name__
            raise CaptionsError(f"{file}: cannot be read ({what}): mend or replace it") from None
    return captions, {split: list(names) for split, names in splits.items()}


def read_text(file):
    """A text file in UTF-8, with or without its mark, or else in Latin-1, which is never wrong."""
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_json(file, text):
    """Rows (name, caption, split) from COCO's `captions_train2017.json` or Karpathy's format."""
    data = json.loads(text)
    if "annotations" in data:
        names = {image["id"]: image["file_name"] for image in data["images"]}
        split = "train" if "train" in file.name else "validation"
        for name in names.values():
            yield name, "", split
        for note in data["annotations"]:
            yield names[note["image_id"]], note["caption"], split
    else:
        for image in data["images"]:
            for sentence in [{"raw": ""}, *image["sentences"]]:
                yield image["filename"], sentence["raw"], image["split"]


def read_table(file, text):
    """Rows (name, caption, None) of the authors' `name#0<tab>caption`, or of a table."""
    first = text.partition("\n")[0]
    if re.match(r"[^\t]+#\d\t", first):
        for line in io.StringIO(text, newline=None):  # not at all that `splitlines` splits at
            name, _, caption = line.partition("\t")
            yield name.rpartition("#")[0], caption, None
        return
    mark = max("|,;\t", key=first.count)
    quoting = csv.QUOTE_NONE if mark == "|" else csv.QUOTE_MINIMAL
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark, quoting=quoting)
    header = [name.strip().lower() for name in next(rows, ())]
    places = [[header.index(name) for name in names if name in header] for names in CAPTION_COLUMNS]
    if not all(places):
        raise CaptionsError(f"{file}: its first line must name the columns image,caption")
    (image, *_), (place, *_) = places
    for fields in filter(any, rows):
        if place == len(fields):  # Flickr30k has a row that lacks the mark after its number
            fields.append("".join(re.findall(r"^\s*\d+\s(.*)", fields[-1])))
        last = place == len(header) - 1  # a last caption's own commas may lack their quotes
        if any(fields[len(header) :]) and not last:
            raise ValueError(f"more columns than names for {fields[image]}: quote its commas")
        yield fields[image], mark.join(fields[place:]) if last else fields[place], None
