"""Score a file of captions: `python -m utils score`.

The files have any of the formats of captions files; `score_files` reads them.
"""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from utils.cli.score_files import (
    FileError,
    ScoreFile,
    load_captions,
    pair_photos,
    select_subset,
)
from utils.data.csv_cells import escape_cell
from utils.errors import CaptionsError
from utils.evaluation.bootstrap import bootstrap_scores
from utils.evaluation.meteor import meteor
from utils.evaluation.metrics import score as score_corpus
from utils.evaluation.metrics import score_photos
from utils.evaluation.ngrams import Caption, References, tokenize_all
from utils.evaluation.protocol import (
    caution_few_photos,
    describe_references,
    scoring_rules,
)
from utils.io import require_folder, write_text


def score(
    references: str | Path,
    candidates: str | Path,
    as_json: bool = False,
    subset: str | None = None,
    per_photo: str | None = None,
    columns: str = "",
) -> None:
    """Print the scores of captions against reference captions.

    Args:
        references: A file of reference captions, one or more per photo, or the working folder of a
            run, whose captions and splits are used.
        candidates: A file of captions to score, one per photo.
        as_json: Print JSON instead of a table.
        subset: The photos to score: a split of the references, a file, or `FILE:SPLIT`.
        per_photo: A CSV file to write with the scores of each photo.
        columns: The columns of the references, such as `image=path,caption=text`.

    Raises:
        FileError: A file cannot be read, or the photos of the two do not match.
    """
    if per_photo is not None:
        check_per_photo(per_photo)
    reference_file = load_captions(references, columns)
    candidate_file = load_captions(candidates)
    is_part = subset is not None
    if subset is not None:
        total = len(reference_file.captions)
        reference_file = select_subset(reference_file, subset)
        scored = len(reference_file.captions)
        print(f"{subset}: {scored:,} of the {total:,} photos in {references}", file=sys.stderr)
    captions = pair_captions(reference_file, candidate_file, is_part)

    names = list(captions)
    texts = [candidate for candidate, _ in captions.values()]
    prepared = References([group for _, group in captions.values()])
    meteor_name, meteor_score, meteor_scores = best_meteor(texts, prepared.words)
    scores = {**score_corpus(texts, prepared), meteor_name: meteor_score}
    if as_json:
        print(json.dumps(scores, indent=1))
    else:
        for name, value in scores.items():
            print(f"{name:26} {value:.4f}")
        print(f"\n{describe_references(prepared.words)}; {scoring_rules(prepared.words)}")
    report_few_photos(texts, prepared)
    if per_photo is not None:
        photo_scores = {**score_photos(texts, prepared), meteor_name: meteor_scores}
        write_photo_scores(per_photo, dict(zip(names, texts, strict=True)), photo_scores)


def report_few_photos(candidates: Sequence[Caption], references: References) -> None:
    """Say on stderr how uncertain the scores of few photos are."""
    caution = caution_few_photos(len(candidates))
    if not caution:
        return
    samples = bootstrap_scores(candidates, references.words)["CIDEr-D"]
    low, high = np.percentile(samples, [2.5, 97.5])
    print(
        f"{caution}; 95 % confidence interval of CIDEr-D: {low:.2f} to {high:.2f}",
        file=sys.stderr,
    )


def check_per_photo(path: str) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises:
        FileError: It is a folder, or its folder does not exist.
    """
    if not path or Path(path).is_dir():
        raise FileError(f"--per-photo {path}: is no file: name one that is to be written")
    try:
        require_folder(path, f"--per-photo {path}")
    except CaptionsError as error:
        raise FileError(str(error)) from None


def pair_captions(
    references: ScoreFile, candidates: ScoreFile, is_part: bool
) -> dict[str, tuple[str, list[str]]]:
    """The candidate and the references of each photo, by the candidates' name of it.

    Args:
        references: The reference captions.
        candidates: The captions to score.
        is_part: Whether the references are a subset, so that candidates of other photos are none of
            its concern.

    Raises:
        FileError: A photo has no reference, no candidate or several.
    """
    pairs = pair_photos(references, candidates)
    captions = {}
    others = 0
    for key, name in pairs.second.items():
        group = references.captions[pairs.first[key]] if key in pairs.first else []
        if not group and is_part:
            others += 1
            continue
        if not group:
            raise FileError(
                f"{candidates.path}: {name} has no references in {references.path}: add some, or "
                "score a part of the photos with --subset"
            )
        if len(candidates.captions[name]) != 1:
            count = len(candidates.captions[name])
            raise FileError(f"{candidates.path}: {name} has {count} captions: keep one")
        captions[name] = (candidates.captions[name][0], group)
    for key, name in pairs.first.items():
        if references.captions[name] and key not in pairs.second:
            raise FileError(
                f"{candidates.path}: has no caption for {name}, which is in {references.path}: add "
                "it, or score a part of the photos with --subset"
            )
    if others:
        print(
            f"{others:,} captions in {candidates.path} are of other photos: not scored",
            file=sys.stderr,
        )
    return captions


def write_photo_scores(
    path: str | Path, captions: Mapping[str, str], scores: Mapping[str, np.ndarray]
) -> None:
    """Write a CSV file with the scores of each photo.

    Args:
        path: The file.
        captions: The caption of each photo, by name.
        scores: The scores of all photos in this order, by metric.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "caption", *scores))
    for row, (name, caption) in enumerate(captions.items()):
        values = [f"{metric[row]:.4f}" for metric in scores.values()]
        writer.writerow((escape_cell(name), escape_cell(caption), *values))
    write_text(path, text.getvalue())


# === METEOR ===


def best_meteor(
    candidates: Sequence[str], references: Sequence[Sequence[Caption]]
) -> tuple[str, float, np.ndarray]:
    """METEOR 1.5 if Java and pycocoevalcap are installed, otherwise the one of NLTK.

    Returns:
        The name of the metric, the score, and the score of each caption.
    """
    if not (find_spec("pycocoevalcap") and java_runs()):
        return meteor(candidates, references)
    from pycocoevalcap.meteor.meteor import Meteor

    references_by_id = {}
    candidates_by_id = {}
    for number, captions in enumerate(references):
        references_by_id[number] = [" ".join(words) for words in tokenize_all(captions)]
    for number, words in enumerate(tokenize_all(candidates)):
        # The Java program hangs on an empty caption: it gets a word that occurs nowhere.
        candidates_by_id[number] = [" ".join(words) or "qqq"]
    corpus_score, scores = Meteor().compute_score(references_by_id, candidates_by_id)
    return "METEOR 1.5", corpus_score, np.array(scores)


def java_runs() -> bool:
    """Whether Java is installed; macOS has a placeholder program that only says how to get it."""
    java = shutil.which("java")
    if not java:
        return False
    try:
        return subprocess.run([java, "-version"], capture_output=True).returncode == 0
    except OSError:
        return False
