"""The commands `caption` and `search`; TensorFlow starts only if there are photos."""

import csv
import glob
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from utils.artifacts import artifact_path, load_saved_config
from utils.config import parse_value
from utils.data.photos import IMAGE_SUFFIXES, is_image
from utils.data.tokenizer import tokenize
from utils.errors import CaptionsError
from utils.paths import find_files, working_folder

if TYPE_CHECKING:
    from utils.inference import Captioner

SAMPLE_NOTICE = (
    "Trained on the drawn sample, this captioner only knows cartoons. To train one on photos: "
    "python -m utils run --input FOLDER (Flickr8k takes about two hours on two CPU cores)"
)
NO_CAPTION = "no caption: the captioner generated an empty one"


def caption(
    photos: Sequence[str],
    output_format: str | None = None,
    beam_width: int | None = None,
    working: str | None = None,
) -> int:
    """Print a caption for each photo.

    Args:
        photos: Files, folders and patterns.
        output_format: `csv`, `json`, `alt`, or None for one line per photo.
        beam_width: Instead of the run's.
        working: The working folder of the run whose captioner is used.

    Returns:
        The exit status: 1 if a photo has no caption.
    """
    if beam_width is not None:
        beam_width = parse_value("beam_width", beam_width)
    paths = collect_photos(photos)
    failures: dict[str, str] = {}
    captioner = load_captioner(working)
    rows = []
    for row in captioner(paths, beam_width, failures):
        if row["caption"]:
            rows.append(row)
        else:
            failures[row["photo"]] = NO_CAPTION
    print_captions(rows, output_format)
    return report_failures(failures)


def print_captions(rows: list[dict], output_format: str | None) -> None:
    """Print captions in one of the formats of `caption`."""
    if output_format == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif output_format == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(("image", "caption", "probability"))  # the columns that `score` expects
        for row in rows:
            writer.writerow((row["photo"], row["caption"], row["probability"]))
    elif output_format == "alt":
        from utils.inference import alt_text

        for row in rows:
            print(f"{row['photo']}: {alt_text(row)}")
    else:
        for row in rows:
            print(f"{row['photo']}: {row['caption']}")


def search(sentence: str, photos: Sequence[str], working: str | None = None) -> int:
    """Print the photos and how well a sentence describes them, the best first.

    Args:
        sentence: What to search for.
        photos: Files, folders and patterns.
        working: The working folder of the run whose captioner is used.

    Returns:
        The exit status: 1 if a photo could not be read.
    """
    paths = collect_photos(photos)
    failures: dict[str, str] = {}
    captioner = load_captioner(working)
    vocabulary = captioner.tokenizer.word_to_id
    words = dict.fromkeys(tokenize(sentence))  # each once, in order
    unknown_words = [word for word in words if word not in vocabulary]
    if unknown_words:
        print(f"not in the captioner's vocabulary: {', '.join(unknown_words)}", file=sys.stderr)
    for score, path in captioner.search(sentence, paths, failures):
        print(f"{score:6.1%}  {path}")
    return report_failures(failures)


def find(sentence: str, photos: Sequence[str], working: str | None = None) -> int:
    """The earlier name of `search`."""
    print("the command `find` is now called `search`", file=sys.stderr)
    return search(sentence, photos, working)


def load_captioner(working: str | None) -> "Captioner":
    """Load the captioner of a run, and say on stderr which one it is.

    Args:
        working: The working folder of the run; by default the one that notebooks would use.

    Raises:
        CaptionsError: There is no captioner.
    """
    config = load_saved_config(working)
    if working and not (working_folder(config) / "captioner.pkl").is_file():
        fix = "name the working folder of a run"
        raise CaptionsError(f"--working {working}: contains no captioner.pkl: {fix}")
    path = artifact_path("captioner", config)
    notice = SAMPLE_NOTICE if config.preset == "sample" else f"Captions by {path}"
    print(notice, file=sys.stderr, flush=True)
    # Someone who has set the log level is looking for a problem, and wants to see everything.
    wants_logs = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors are raised as exceptions, too
    # Leave GPU memory to notebooks that are open at the same time.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with nullcontext() if wants_logs else silence_stderr():
        from utils.inference import Captioner

    return Captioner(config)


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Discard what is written to stderr.

    The C++ part of TensorFlow logs there while it loads, whatever the log level is, so the file
    descriptor itself is replaced.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def collect_photos(patterns: Sequence[str]) -> list[Path]:
    """The photos that files, folders and patterns name, each once.

    Raises:
        CaptionsError: One of the names leads to no photo.
    """
    paths: list[Path] = []
    for pattern in patterns:
        paths.extend(expand_pattern(pattern))
    return list(dict.fromkeys(paths))


def expand_pattern(pattern: str) -> list[Path]:
    """The photos that one file, folder or pattern names."""
    place = Path(pattern)
    if place.is_file():
        return [place]  # whatever its suffix is: the user has named it
    candidates = find_files(place) if place.is_dir() else map(Path, glob.glob(pattern))
    photos = sorted(path for path in candidates if is_image(path) and path.is_file())
    if photos:
        return photos
    if not place.exists() and not glob.has_magic(pattern):
        raise CaptionsError(f"{pattern}: does not exist: name another file or folder")
    suffixes = ", ".join(IMAGE_SUFFIXES)
    raise CaptionsError(f"{pattern}: contains no photos ({suffixes}): name another file or folder")


def report_failures(failures: dict[str, str]) -> int:
    """Print the photos that failed, with reasons, and return the exit status."""
    for path, reason in failures.items():
        print(f"{path}: {reason}", file=sys.stderr)
    return 1 if failures else 0
