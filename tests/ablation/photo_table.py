"""A table of validation photos, chosen by rule: links to Flickr, captions and scores.

The photos belong to their photographers, so the table has neither a photo nor a human caption.
"""

import re
from collections.abc import Sequence

import numpy as np

from tests.ablation.experiment import Experiment
from tests.ablation.runs import PROTOCOL
from tests.page import markdown_table
from utils.evaluation.metrics import cider_d

STEP = 42
PHOTOS = 24
PAGE_OF_PHOTO = "https://www.flickr.com/photo.gne?id="
COLUMNS = ["photo", "caption", "CIDEr-D"]


def photo_section(experiment: Experiment, name: str, seed: int) -> str:
    """Every 42nd validation photo by score, with the captions of a trained run."""
    captioner, config, _ = experiment.load_or_train(name, seed)
    captions = experiment.decode(captioner, config, PROTOCOL)
    data = experiment.data
    _, scores = cider_d(captions, data.captions("validation"))
    file_names = [data.photos.paths[photo].name for photo in data.names("validation")]
    rows = photo_rows(file_names, captions, scores)
    source = f"Run *{name}*, seed {seed}, encoder {data.config.encoder}, {PROTOCOL}."
    return f"{source}\n\n{markdown_table(COLUMNS, rows, 1)}"


def photo_rows(
    file_names: Sequence[str], captions: Sequence[str], scores: np.ndarray
) -> list[list[str]]:
    """The rows of the table, the best photo first; photos with equal scores are in given order."""
    rows = []
    for index in np.argsort(-scores, kind="stable")[::STEP][:PHOTOS]:
        photo_id = flickr_id(file_names[index])
        link = f"[{photo_id}]({PAGE_OF_PHOTO}{photo_id})"
        rows.append([link, captions[index], f"{scores[index]:.2f}"])
    return rows


def flickr_id(file_name: str) -> str:
    """The number of a photo at Flickr, with which the names of Flickr8k's files begin."""
    match = re.match(r"(\d+)_[0-9a-f]+\.", file_name)
    if not match:
        raise SystemExit(f"{file_name}: is no photo of Flickr8k: use --input with its photos")
    return match[1]
