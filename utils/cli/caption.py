"""The commands `caption` and `search`; TensorFlow starts only if there are photos."""

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import artifacts
from utils.artifacts import artifact_path, fingerprint, load_saved_config
from utils.cli.caption_rows import IMAGE_KEY, Output, RowWriter, find_output, printable
from utils.cli.output_record import (
    make_record,
    read_record,
    require_same_captioner,
    write_record,
)
from utils.cli.photo_paths import collect_photos, report_skipped
from utils.cli.tensorflow_logs import quiet_tensorflow
from utils.config import Config
from utils.data.tokenizer import Tokenizer, join_tokens, tokenize
from utils.errors import CaptionsError, program_name
from utils.paths import find_files, working_folder
from utils.pretrained import MODEL_CARD, PRETRAINED, PRETRAINED_FILE
from utils.pretrained.captioner_file import load_run, read_captioner

if TYPE_CHECKING:
    from utils.inference import Captioner

SAMPLE_NOTICE = (
    "Trained on the drawn sample, this captioner only knows cartoons; without --working, the "
    "pretrained captioner is used"
)
PRETRAINED_NOTICE = (
    "Captions by the pretrained captioner, which knows photos of people and dogs outdoors: "
    f"see {MODEL_CARD}"
)
DRAWN_FOLDERS = ("sample", "fresh")  # in the working folder; 05_visualize draws the second
NO_CAPTION = "no caption: the captioner generated an empty one"


def caption(
    photos: Sequence[str],
    output_format: str | None = None,
    beam_width: int | None = None,
    working: str | None = None,
    output: str | None = None,
    **conditions: Any,
) -> int:
    """Write a caption for each photo, as soon as it is there.

    Args:
        photos: Files, folders and patterns.
        output_format: `csv`, `json`, `jsonl`, or None for the one that the suffix of `output`
            names, or one line per photo.
        beam_width: Instead of the run's.
        working: The working folder of the run whose captioner is used, or a captioner's file.
        output: The file to write or to continue, instead of stdout.
        **conditions: `alt`: write alt text; `force`: write it for any image, although the captioner
            only knows the drawn sample; `min_confidence`: write no caption with a lower confidence.

    Returns:
        The exit status: 1 if a photo has no caption.
    """
    selection = collect_photos(photos, exclude=output)
    target = find_output(output, output_format, conditions.get("alt", False))
    found = find_captioner(working)
    min_confidence = conditions.get("min_confidence") or 0.0
    if isinstance(found, Config) and conditions.get("alt") and not conditions.get("force"):
        require_drawn_images(selection.paths, found)
    check_record(target, found, beam_width)
    remaining = [path for path in selection.paths if not target.contains(path)]
    done = len(selection.paths) - len(remaining)
    if target.photos:
        count = f"{done:,} of {len(selection.paths):,} photos"
        print(f"{output}: has {count} already; to caption them anew, delete it", file=sys.stderr)
    failures: dict[str, str] = {}
    if remaining:
        captioner = load_captioner(found)
        if min_confidence and captioner.confidence is None:
            raise CaptionsError(
                "--min-confidence: omit it: this captioner has no confidence: "
                f"{captioner.confidence_problem}"
            )
        if min_confidence or target.output_format != "text":  # which shows no confidence
            report_confidence(captioner)
        rows = stream_captions(captioner, remaining, beam_width, target, failures)
        rows = keep_confident(rows, min_confidence)
        write_captions(rows, target, failures, done, len(selection.paths))
    else:
        target.finish()
    status = report_failures(failures)
    report_skipped(selection)
    return status


def check_record(output: Output, found: Config | Path, beam_width: int | None) -> None:
    """Record which captioner writes a file; refuse to continue the file of another one.

    Raises:
        CaptionsError: Another captioner, or another beam width, has written the file.
    """
    if output.path is None:
        return
    current = make_record(found, beam_width)
    earlier = read_record(output.path)
    if not output.photos:
        write_record(output.path, current)
    elif earlier:
        require_same_captioner(output.path, earlier, current)
    else:
        print(f"{output.path}: which captioner has written it is not recorded", file=sys.stderr)


def stream_captions(
    captioner: "Captioner",
    paths: list[Path],
    beam_width: int | None,
    output: Output,
    failures: dict[str, str],
) -> Iterator[dict]:
    """The rows of photos, one by one, with a progress bar where they do not appear themselves."""
    progress = output.path is not None or not sys.stdout.isatty()
    return captioner.stream(paths, beam_width, failures, no_repetition=True, progress=progress)


def keep_confident(rows: Iterator[dict], min_confidence: float) -> Iterator[dict]:
    """The rows with at least this confidence; at the end, how many others there were, on stderr."""
    omitted = 0
    for row in rows:
        if min_confidence and row["confidence"] < min_confidence:
            omitted += 1
        else:
            yield row
    if omitted:
        print(f"omitted for a confidence below {min_confidence}: {omitted:,}", file=sys.stderr)


def write_captions(
    rows: Iterator[dict], output: Output, failures: dict[str, str], done: int, total: int
) -> None:
    """Write each row at once.

    Args:
        rows: What `stream_captions` returns.
        output: Where they are written.
        failures: Gets the photos that have no caption, with reasons.
        done: How many photos were captioned before.
        total: How many photos there are.

    Raises:
        KeyboardInterrupt: Says how many photos are done, and how to continue.
    """
    try:
        with output.open() as writer:
            for row in rows:
                done += write_row(row, writer, failures)
    except KeyboardInterrupt:
        report_failures(failures)
        fix = "run the same command again to continue"
        if output.path is None:
            fix = "with --output FILE the same command continues where it was interrupted"
        message = f"interrupted: {done:,} of {total:,} photos are done: {fix}"
        raise KeyboardInterrupt(message) from None


def write_row(row: dict, writer: RowWriter, failures: dict[str, str]) -> bool:
    """Write one row, and return whether it has a caption; an empty one is a failure."""
    if not row["caption"]:
        failures[row["photo"]] = NO_CAPTION
        return False
    writer.write(row)
    return True


def require_drawn_images(paths: Sequence[Path], config: Config) -> None:
    """Refuse alt text for photos by a captioner that was trained on the drawn sample.

    Raises:
        CaptionsError: An image is none of those that were drawn for that run.
    """
    if config.preset != "sample":
        return
    drawn: set[str] = set()
    for folder in DRAWN_FOLDERS:
        drawn.update(map(fingerprint, find_files(working_folder(config) / folder, "*.jpg")))
    others = [path for path in paths if fingerprint(path) not in drawn]
    if others:
        raise CaptionsError(
            f"--alt: {len(others):,} of {len(paths):,} images, such as {others[0]}, are no drawn "
            "scenes, and this captioner knows no others: omit --working to use the pretrained "
            "captioner, or add --force"
        )


def report_unused_words(sentence: str, tokenizer: Tokenizer) -> None:
    """Say on stderr which words of a sentence a search does not use."""
    tokens = tokenize(sentence)
    words = dict.fromkeys(tokens)  # each once, in order
    unknown_words = [word for word in words if word not in tokenizer.word_to_id]
    if unknown_words:
        print(f"not in the captioner's vocabulary: {', '.join(unknown_words)}", file=sys.stderr)
    too_many = tokens[tokenizer.max_length :]
    if too_many:
        limit = f"a sentence has at most {tokenizer.max_length} tokens"
        print(f"{limit}; ignored: {join_tokens(too_many)}", file=sys.stderr)


def search(
    sentence: str,
    photos: Sequence[str],
    working: str | None = None,
    top: int = 10,
    as_json: bool = False,
) -> int:
    """Print the photos that a sentence describes best, the best first.

    Args:
        sentence: What to search for.
        photos: Files, folders and patterns.
        working: The working folder of the run whose captioner is used, or a captioner's file.
        top: How many photos are printed.
        as_json: Print JSON.

    Returns:
        The exit status: 1 if a photo could not be read.
    """
    require_quoted_sentence(sentence, photos)
    selection = collect_photos(photos)
    failures: dict[str, str] = {}
    captioner = load_captioner(find_captioner(working))
    report_unused_words(sentence, captioner.tokenizer)
    ranking = captioner.search(sentence, selection.paths, failures)
    print_ranking(ranking[:top], as_json)
    if len(ranking) > top:
        print(f"the best {top:,} of {len(ranking):,} photos: --top N for more", file=sys.stderr)
    status = report_failures(failures)
    report_skipped(selection)
    return status


def require_quoted_sentence(sentence: str, photos: Sequence[str]) -> None:
    """Refuse a sentence whose other words were taken for photos, because it is not in quotes.

    Raises:
        CaptionsError: Shows the command with quotation marks.
    """
    words = list(takewhile(lambda name: not (Path(name).exists() or has_magic(name)), photos))
    places = photos[len(words) :]
    if " " in sentence or not words or (len(words) == 1 and not places):
        return  # a sentence of one word, and perhaps a place that does not exist
    quoted = f'"{" ".join([sentence, *words])}"'
    command = f"{program_name()} search {quoted} {shlex.join(places) or 'PHOTOS'}"
    raise CaptionsError(
        f"{words[0]}: does not exist: name another place, or put the sentence in quotes: {command}"
    )


def print_ranking(ranking: list[tuple[float, str]], as_json: bool) -> None:
    """Print scores and photos, as text or as JSON."""
    if as_json:
        rows = [{IMAGE_KEY: path, "score": score} for score, path in ranking]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    for score, path in ranking:
        print(f"{score:6.1%}  {printable(path)}")


def find(**options: Any) -> int:
    """The earlier name of `search`."""
    print("the command `find` is now called `search`", file=sys.stderr)
    return search(**options)


def find_captioner(working: str | None) -> Config | Path:
    """The configuration of the run whose captioner is used, or the file of a captioner.

    That is the run in `working`, or the `.npz` file of that name, or the pretrained captioner where
    it is `pretrained`, as in the setting `start_from`. Without `working` it is the run of this
    machine, if it was trained on photos and notebook 4 has evaluated it; else the pretrained
    captioner. Other runs are used where they are named, or where the pretrained one is missing.

    Raises:
        CaptionsError: There is no captioner.
    """
    if working == PRETRAINED:
        return PRETRAINED_FILE
    if working and working.endswith(".npz"):
        return Path(working)
    if working:
        return find_run(working)
    if artifacts.find("captioner", Config("flickr8k")):
        config = load_saved_config()
        if replaces_pretrained(config):
            return config
    return PRETRAINED_FILE


def find_run(working: str) -> Config:
    """The configuration of the run in a folder.

    Raises:
        CaptionsError: There is no such folder, or it contains no captioner.
    """
    fix = "name the folder of a run, or omit --working to use the pretrained captioner"
    folder = working_folder(Config(working=working))
    if not folder.is_dir():
        if get_close_matches(working, [PRETRAINED]):
            fix = f"for the pretrained captioner write --working {PRETRAINED}"
        raise CaptionsError(f"--working {working}: no such folder: {fix}")
    if not (folder / "captioner.pkl").is_file():
        if (folder / "features.pkl").is_file():  # the run has begun
            fix = "run 03_train first"
        raise CaptionsError(f"--working {working}: contains no captioner.pkl: {fix}")
    return load_saved_config(working)


def replaces_pretrained(config: Config) -> bool:
    """Whether a run is used by default; one on photos that is not evaluated is reported."""
    if not PRETRAINED_FILE.is_file():
        return True
    if config.preset == "sample":
        return False
    if artifacts.is_current("confidence", config):
        return True
    path = artifact_path("captioner", config)
    print(
        f"{path}: not used, as 04_evaluate has not run after its training; "
        f"--working {path.parent} uses it",
        file=sys.stderr,
    )
    return False


def load_captioner(found: Config | Path) -> "Captioner":
    """Load what `find_captioner` has found, and say on stderr which captioner it is."""
    if found == PRETRAINED_FILE:
        notice = PRETRAINED_NOTICE
    elif isinstance(found, Path):
        notice = f"Captions by {found}"
    elif found.preset == "sample":
        notice = SAMPLE_NOTICE
    else:
        notice = f"Captions by {artifact_path('captioner', found)}"
    print(notice, file=sys.stderr, flush=True)
    # Leave GPU memory to notebooks that are open at the same time.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with quiet_tensorflow():
        from utils.inference import Captioner

    return Captioner(read_captioner(found) if isinstance(found, Path) else load_run(found))


def report_confidence(captioner: "Captioner") -> None:
    """Say on stderr why captions have no confidence, or only that of the pretrained captioner."""
    if captioner.confidence is None:
        print(f"no confidence: {captioner.confidence_problem}", file=sys.stderr)
    elif captioner.confidence_problem:
        print(f"note: {captioner.confidence_problem}", file=sys.stderr)


def report_failures(failures: dict[str, str]) -> int:
    """Print the photos that failed, with reasons, and return the exit status."""
    for path, reason in failures.items():
        print(f"{printable(path)}: {reason}", file=sys.stderr)
    return 1 if failures else 0
