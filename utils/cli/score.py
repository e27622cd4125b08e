"""Score a file of captions: `python -m utils score`.

The files are COCO annotations and results, `{id: [captions]}` and CSV; IDs are compared as text.
"""

import csv
import io
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from utils.data.tokenizer import tokenize
from utils.errors import CaptionsError
from utils.evaluation.meteor import meteor
from utils.evaluation.ngrams import tokenize_all
from utils.evaluation.protocol import SCORING_RULES, describe_references, score_with_meteor

CSV_SUFFIXES = (".csv", ".txt")


class FileError(CaptionsError):
    """A file of captions cannot be used: what is wrong with it."""

    exit_status = 2


def score(references: str | Path, candidates: str | Path, as_json: bool = False) -> None:
    """Print the scores of captions against reference captions.

    Args:
        references: A file of reference captions, one or more per ID.
        candidates: A file of captions to score, one per ID.
        as_json: Print JSON instead of a table.

    Raises:
        FileError: A file cannot be read, or the IDs of the two do not match.
    """
    references_by_id = load_captions(references)
    candidates_by_id = load_captions(candidates)
    if not candidates_by_id.keys() <= references_by_id.keys():
        references_by_id = shorten_ids(references_by_id)
        candidates_by_id = shorten_ids(candidates_by_id)
    for name, captions in candidates_by_id.items():
        if name not in references_by_id:
            raise FileError(f"{candidates}: {name} has no references in {references}: add some")
        if len(captions) > 1:
            raise FileError(f"{candidates}: {name} has several captions: keep one")
    for name in references_by_id:
        if name not in candidates_by_id:
            raise FileError(f"{candidates}: has no caption for {name}, which is in {references}")

    reference_lists = [references_by_id[name] for name in candidates_by_id]
    candidate_list = [captions[0] for captions in candidates_by_id.values()]
    scores = score_with_meteor(candidate_list, reference_lists, best_meteor)
    if as_json:
        print(json.dumps(scores, indent=1))
    else:
        for name, value in scores.items():
            print(f"{name:26} {value:.4f}")
        print(f"\n{describe_references(reference_lists)}; {SCORING_RULES}")


# === Reading files of captions ===


def load_captions(file: str | Path) -> dict[str, list[str]]:
    """Read the captions of each ID from a file in any of the formats.

    Raises:
        FileError: The file cannot be read, has another format, or has an empty caption.
    """
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
        captions = group_by_id(parse_captions(file, text))
    except OSError as error:
        fix = "check that it exists and that you have permission"
        raise FileError(f"{file}: could not be read ({error.strerror}): {fix}") from None
    except json.JSONDecodeError as error:
        raise FileError(f"{file}: is not valid JSON ({error})") from None
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise FileError(f"{file}: has none of the formats that --help describes") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise FileError(f"{file}: {error}") from None
    if not captions:
        raise FileError(f"{file}: contains no captions")
    return captions


def parse_captions(file: str | Path, text: str) -> list[tuple[Any, str]]:
    """The pairs of ID and caption in the text of a file; its suffix decides the format."""
    if Path(file).suffix.lower() in CSV_SUFFIXES:
        return csv_pairs(text)
    return json_pairs(text)


def group_by_id(pairs: list[tuple[Any, str]]) -> dict[str, list[str]]:
    """The captions of each ID, as text; an empty caption is a ValueError."""
    captions: dict[str, list[str]] = {}
    for name, caption in pairs:
        if not tokenize(caption):
            raise ValueError(f"the caption of {name} is empty: fill it in, or remove it")
        captions.setdefault(str(name), []).append(caption)
    return captions


def shorten_ids(captions: dict[str, list[str]]) -> dict[str, list[str]]:
    """Replace IDs that are paths by their file names, unless two of these are the same.

    The same photos may be in another folder on the machine that captioned them.
    """
    shortened = {re.split(r"[/\\]", name)[-1]: group for name, group in captions.items()}
    return shortened if len(shortened) == len(captions) else captions


def csv_pairs(text: str) -> list[tuple[str, str]]:
    """IDs and captions from the first two columns of a CSV file with a header."""
    rows = list(csv.reader(io.StringIO(text, newline="")))
    header = rows[0] if rows else []
    columns = [name.strip().lower() for name in header if name.strip()]
    if len(columns) < 2 or columns[1] != "caption":
        raise ValueError("the first line must name the columns, the second of them caption")
    pairs = []
    for row in rows[1:]:
        if not row:
            continue
        if len(columns) > 2 and len(row) != len(columns):
            raise ValueError(
                f"the row of {row[0]} has {len(row)} fields, the first line {len(columns)}: put "
                "captions that contain commas in quotes"
            )
        # With two columns, the commas of a caption may lack their quotes.
        caption = row[1] if len(columns) > 2 else ",".join(row[1:])
        pairs.append((row[0].strip(), caption))
    return pairs


def json_pairs(text: str) -> list[tuple[Any, str]]:
    """IDs and captions from COCO annotations or results, `caption --json`, or a dict."""
    data = json.loads(text, object_pairs_hook=dict_without_duplicates)
    if isinstance(data, dict) and "annotations" in data:
        data = data["annotations"]
    if isinstance(data, list):
        return [(annotation_id(row), row["caption"]) for row in data]
    pairs = []
    for name, captions in data.items():
        if isinstance(captions, str):
            captions = [captions]
        for caption in captions:
            pairs.append((name, caption))
    return pairs


def annotation_id(row: dict) -> Any:
    """The ID in one annotation of COCO, or in one row of `caption --json`."""
    return row["image_id"] if "image_id" in row else row["photo"]


def dict_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; a duplicate key, whose first value would be lost, is an error."""
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("an object in it has the same key twice: rename one")
    return result


# === METEOR ===


def best_meteor(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
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
