"""`caption` and `find` from a terminal; TensorFlow is only started when there are photos."""

import csv
import glob
import json
import os
import sys
from pathlib import Path

from utils.settings import CaptionsError, checked, working_folder
from utils.store import recorded_settings
from world.photos import PICTURES, is_picture

CARTOONS = (
    "Trained on the drawn sample, this captioner knows only its cartoons. To train one on photos: "
    "python -m utils run --input FOLDER (Flickr8k takes about two hours on two cores)"
)


def caption(photos, form=None, beam_width=None, best_of=1, working=None):
    """Print a caption for each photo; the exit status is 1 if one could not be read."""
    beam_width = beam_width if beam_width is None else checked("beam_width", beam_width)
    if best_of < 1:
        raise CaptionsError(f"--best-of {best_of}: must be 1 or more")
    paths, failures = collect(photos), {}
    rows = load(working, form)(paths, beam_width, failures, best_of)
    if form == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, ("photo", "caption", "probability"))
        writer.writeheader()
        writer.writerows(rows)
    else:
        from utils.caption import alt_text  # TensorFlow has been started by now

        for row in rows:
            print(f"{row['photo']}: {alt_text(row) if form == 'alt' else row['caption']}")
    return complain(failures)


def find(sentence, photos, working=None):
    """Print the photos with their scores, the one that the sentence fits best first."""
    paths, failures = collect(photos), {}
    for score, path in load(working).find(sentence, paths, failures):
        print(f"{score:6.1%}  {path}")
    return complain(failures)


def load(working, form=None):
    """The captioner; one that knows only cartoons says so first (not into a program's input)."""
    settings = recorded_settings(working)
    if working and not (working_folder(settings) / "captioner.pkl").is_file():
        raise CaptionsError(f"--working {working}: holds no captioner.pkl: name a run's folder")
    if settings.preset == "sample":
        print(CARTOONS, file=sys.stderr if form in ("csv", "json") else sys.stdout, flush=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors come as exceptions
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # open notebooks want some
    from utils.caption import Captioner

    return Captioner(settings)


def collect(patterns):
    """The photos that files, folders and patterns name, each once."""
    paths = []
    for pattern in patterns:
        place = Path(pattern)
        names = sorted(place.rglob("*") if place.is_dir() else map(Path, glob.glob(pattern)))
        found = [path for path in names if is_picture(path) and path.is_file()]
        found = [place] if place.is_file() else found
        if not found:
            raise CaptionsError(f"{pattern}: no photos ({', '.join(PICTURES)}): name another place")
        paths += found
    return list(dict.fromkeys(paths))


def complain(failures):
    """Name the photos that could not be read; returns the exit status."""
    for path, reason in failures.items():
        print(f"{path}: {reason}", file=sys.stderr)
    return int(bool(failures))
