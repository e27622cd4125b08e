"""`caption` and `find` from a terminal; TensorFlow is only started when there are photos."""

import csv
import glob
import json
import os
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

from utils.artifacts import artifact_path, load_saved_config
from utils.config import parse_value
from utils.data.photos import IMAGE_SUFFIXES, is_image
from utils.data.tokenizer import tokenize
from utils.errors import CaptionsError
from utils.paths import find_files, working_folder

SAMPLE_NOTICE = (
    "Trained on the drawn sample, this captioner knows only its cartoons. To train one on photos: "
    "python -m utils run --input FOLDER (Flickr8k takes about two hours on two cores)"
)
NO_CAPTION = "no caption: the captioner ended before its first word"


def caption(photos, form=None, beam_width=None, best_of=1, working=None):
    """Print a caption for each photo; the exit status is 1 if one has none."""
    beam_width = beam_width if beam_width is None else parse_value("beam_width", beam_width)
    if best_of < 1:
        raise CaptionsError(f"--best-of {best_of}: must be 1 or more")
    paths, failures = collect_photos(photos), {}
    rows = load_captioner(working)(paths, beam_width, failures)
    silent = {row["photo"]: NO_CAPTION for row in rows if not row["caption"]}
    rows = [row for row in rows if row["photo"] not in silent]
    if form == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(("image", "caption", "probability"))  # as `score` reads it
        writer.writerows(row.values() for row in rows)
    else:
        from utils.inference import alt_text

        for row in rows:
            print(f"{row['photo']}: {alt_text(row) if form == 'alt' else row['caption']}")
    return report_failures(failures | silent)


def search(sentence, photos, working=None):
    """Print the photos with their scores, the one that the sentence fits best first."""
    paths, failures = collect_photos(photos), {}
    captioner = load_captioner(working)
    known = captioner.tokenizer.word_to_id
    if unknown := [word for word in dict.fromkeys(tokenize(sentence)) if word not in known]:
        print(f"not among the captioner's words: {', '.join(unknown)}", file=sys.stderr)
    for score, path in captioner.search(sentence, paths, failures):
        print(f"{score:6.1%}  {path}")
    return report_failures(failures)


def load_captioner(working):
    """The captioner; a line on stderr says which it is, or that it knows only cartoons."""
    config = load_saved_config(working)
    if working and not (working_folder(config) / "captioner.pkl").is_file():
        raise CaptionsError(f"--working {working}: holds no captioner.pkl: name a run's folder")
    by = f"Captions by {artifact_path('captioner', config)}"
    known = SAMPLE_NOTICE if config.preset == "sample" else by
    print(known, file=sys.stderr, flush=True)
    asked = "TF_CPP_MIN_LOG_LEVEL" in os.environ  # by somebody who looks for a fault
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors come as exceptions
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # open notebooks want some
    with nullcontext() if asked else silence_stderr():
        from utils.inference import Captioner

    return Captioner(config)


@contextmanager
def silence_stderr():
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


def collect_photos(patterns):
    """The photos that files, folders and patterns name, each once."""
    paths = []
    for pattern in patterns:
        place = Path(pattern)
        names = sorted(find_files(place) if place.is_dir() else map(Path, glob.glob(pattern)))
        found = [path for path in names if is_image(path) and path.is_file()]
        found = [place] if place.is_file() else found
        if not found:
            lone = not place.exists() and not glob.has_magic(pattern)
            what = "not there" if lone else f"no photos ({', '.join(IMAGE_SUFFIXES)})"
            raise CaptionsError(f"{pattern}: {what}: name another place")
        paths += found
    return list(dict.fromkeys(paths))


def report_failures(failures):
    """Name the photos that could not be read; returns the exit status."""
    for path, reason in failures.items():
        print(f"{path}: {reason}", file=sys.stderr)
    return int(bool(failures))
