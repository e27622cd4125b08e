"""`caption` and `find` from a terminal; TensorFlow is only started when there are photos."""

import csv
import glob
import json
import os
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

from utils.settings import CaptionsError, checked, find_under, working_folder
from utils.store import path_of, recorded_settings
from utils.text import words_of
from world.photos import PICTURES, is_picture

CARTOONS = (
    "Trained on the drawn sample, this captioner knows only its cartoons. To train one on photos: "
    "python -m utils run --input FOLDER (Flickr8k takes about two hours on two cores)"
)
SILENT = "no caption: the captioner ended before its first word"


def caption(photos, form=None, beam_width=None, best_of=1, working=None):
    """Print a caption for each photo; the exit status is 1 if one has none."""
    beam_width = beam_width if beam_width is None else checked("beam_width", beam_width)
    if best_of < 1:
        raise CaptionsError(f"--best-of {best_of}: must be 1 or more")
    paths, failures = collect(photos), {}
    rows = load(working)(paths, beam_width, failures, best_of)
    silent = {row["photo"]: SILENT for row in rows if not row["caption"]}
    rows = [row for row in rows if row["photo"] not in silent]
    if form == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(("image", "caption", "probability"))  # as `score` reads it
        writer.writerows(row.values() for row in rows)
    else:
        from utils.caption import alt_text  # TensorFlow has been started by now

        for row in rows:
            print(f"{row['photo']}: {alt_text(row) if form == 'alt' else row['caption']}")
    return complain(failures | silent)


def find(sentence, photos, working=None):
    """Print the photos with their scores, the one that the sentence fits best first."""
    paths, failures = collect(photos), {}
    captioner = load(working)
    known = captioner.tokenizer.numbers
    if unknown := [word for word in dict.fromkeys(words_of(sentence)) if word not in known]:
        print(f"not among the captioner's words: {', '.join(unknown)}", file=sys.stderr)
    for score, path in captioner.find(sentence, paths, failures):
        print(f"{score:6.1%}  {path}")
    return complain(failures)


def load(working):
    """The captioner; a line on stderr says which it is, or that it knows only cartoons."""
    settings = recorded_settings(working)
    if working and not (working_folder(settings) / "captioner.pkl").is_file():
        raise CaptionsError(f"--working {working}: holds no captioner.pkl: name a run's folder")
    by = f"Captions by {path_of('captioner', settings)}"
    known = CARTOONS if settings.preset == "sample" else by
    print(known, file=sys.stderr, flush=True)
    asked = "TF_CPP_MIN_LOG_LEVEL" in os.environ  # by somebody who looks for a fault
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors come as exceptions
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # open notebooks want some
    with nullcontext() if asked else hushed():
        from utils.caption import Captioner

    return Captioner(settings)


@contextmanager
def hushed():
    """Keep from stderr what TensorFlow's C++ part notes while it loads, whatever is asked of it."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def collect(patterns):
    """The photos that files, folders and patterns name, each once."""
    paths = []
    for pattern in patterns:
        place = Path(pattern)
        names = sorted(find_under(place) if place.is_dir() else map(Path, glob.glob(pattern)))
        found = [path for path in names if is_picture(path) and path.is_file()]
        found = [place] if place.is_file() else found
        if not found:
            lone = not place.exists() and not glob.has_magic(pattern)
            what = "not there" if lone else f"no photos ({', '.join(PICTURES)})"
            raise CaptionsError(f"{pattern}: {what}: name another place")
        paths += found
    return list(dict.fromkeys(paths))


def complain(failures):
    """Name the photos that could not be read; returns the exit status."""
    for path, reason in failures.items():
        print(f"{path}: {reason}", file=sys.stderr)
    return int(bool(failures))
