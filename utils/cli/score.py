"""The scores of anybody's captions, from files: `python -m utils score`.

COCO's annotations and results, `{id: [captions]}` and plain CSV are read; ids are compared as text.
"""

import csv
import io
import json
import re
import shutil
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from utils.data.tokenizer import tokenize
from utils.errors import CaptionsError
from utils.evaluation.meteor import meteor
from utils.evaluation.metrics import tokenize_all
from utils.evaluation.protocol import SCORING_RULES, describe_references, full_score


class FileError(CaptionsError):
    """What is wrong with a file of captions."""

    status = 2


def score(references, candidates, as_json=False):
    """Print the scores of the candidates' file against the references', as a table or as JSON."""
    said, found = read(references), read(candidates)
    if not found.keys() <= said.keys():
        said, found = match_by_file_name(said), match_by_file_name(found)
    if lost := [name for name in found if name not in said]:
        raise FileError(f"{candidates}: {lost[0]} has no references in {references}")
    if lost := [name for name in said if name not in found]:
        raise FileError(f"{candidates}: lacks a caption of {lost[0]}, which {references} names")
    if twice := [name for name, captions in found.items() if len(captions) > 1]:
        raise FileError(f"{candidates}: names {twice[0]} twice: leave one caption of each")
    people = [said[name] for name in found]
    scores = full_score([captions[0] for captions in found.values()], people, best_meteor)
    lines = [f"{name:26} {value:.4f}" for name, value in scores.items()]
    lines += [f"\n{describe_references(people)}; {SCORING_RULES}"]
    print(json.dumps(scores, indent=1) if as_json else "\n".join(lines))


def read(file):
    """Captions by id, `{id: [captions]}`, from a file of any of the formats."""
    pairs = csv_pairs if Path(file).suffix.lower() in (".csv", ".txt") else json_pairs
    captions = {}
    try:
        for name, caption in pairs(Path(file).read_text(encoding="utf-8-sig")):
            if not tokenize(caption):
                raise ValueError(f"the caption of {name} is empty")
            captions.setdefault(str(name), []).append(caption)
    except OSError as error:
        mend = "see that it is there, and allowed"
        raise FileError(f"{file}: cannot be read ({error.strerror}): {mend}") from None
    except json.JSONDecodeError as error:
        raise FileError(f"{file}: is not JSON ({error})") from None
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise FileError(f"{file}: is none of the formats that --help names") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise FileError(f"{file}: {error}") from None
    if not captions:
        raise FileError(f"{file}: holds no captions")
    return captions


def match_by_file_name(captions):
    """The same by files' names, as people keep photos in different folders, where no two agree."""
    short = {re.split(r"[/\\]", name)[-1]: group for name, group in captions.items()}
    return short if len(short) == len(captions) else captions


def csv_pairs(text):
    """Ids and captions from the first two columns, whose header names the second one caption."""
    rows = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip().lower() for name in next(rows, ()) if name.strip()]
    if header[1:2] != ["caption"]:
        raise ValueError("its first line must name the columns, the second of them caption")
    if not header[2:]:  # the commas of a caption may lack their quotes
        return [(name.strip(), ",".join(parts)) for name, *parts in filter(None, rows)]
    rows = list(filter(None, rows))
    if wrong := [row for row in rows if len(row) != len(header)]:
        raise ValueError(f"{wrong[0][0]} has not the columns of the first line: quote its commas")
    return [(name.strip(), caption) for name, caption, *_ in rows]


def json_pairs(text):
    """Ids and captions from COCO's annotations or results, `caption --json`, or a dict."""
    data = json.loads(text, object_pairs_hook=one_per_id)
    data = data.get("annotations", data) if isinstance(data, dict) else data
    if isinstance(data, list):
        return [(row["image_id" if "image_id" in row else "photo"], row["caption"]) for row in data]
    groups = {name: [said] if isinstance(said, str) else said for name, said in data.items()}
    return [(name, caption) for name, group in groups.items() for caption in group]


def one_per_id(pairs):
    """A JSON object as a dict; one that names a key twice would lose the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object in it names a key twice")
    return found


def best_meteor(candidates, references):
    """METEOR 1.5 where Java and pycocoevalcap are installed, else nltk's."""
    if not (find_spec("pycocoevalcap") and java_runs()):
        return meteor(candidates, references)
    from pycocoevalcap.meteor.meteor import Meteor

    said = {
        photo: list(map(" ".join, tokenize_all(group))) for photo, group in enumerate(references)
    }
    # The program waits for ever for the words of an empty caption: it gets one that nobody says.
    found = {
        photo: [" ".join(words) or "qqq"] for photo, words in enumerate(tokenize_all(candidates))
    }
    score, each = Meteor().compute_score(said, found)
    return "METEOR 1.5", score, np.array(each)


def java_runs():
    """Whether there is a Java, and not a mere word that there could be one, as macOS has."""
    with suppress(OSError):
        command = [shutil.which("java") or "", "-version"]
        return command[0] and not subprocess.run(command, capture_output=True).returncode
