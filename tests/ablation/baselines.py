"""Scores that need no captioner: a constant caption, one human caption, and another project's file.

They say what the scores of a captioner mean, and how much a score depends on what is counted.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.ablation.results import rounded
from tests.page import markdown_table
from utils.data.photos import Photos
from utils.data.tokenizer import tokenize
from utils.evaluation.baselines import constant_caption, human_baseline
from utils.evaluation.metrics import References, score

BASELINES = Path(__file__).with_name("baselines.json")
CONVENTIONS = Path(__file__).with_name("conventions.json")
SPLIT = "validation"

Tokens = list[str]

# What is done with the tokens of captions and references before they are compared.
RULES: dict[str, Callable[[Tokens], Tokens]] = {
    "this project's protocol": lambda tokens: tokens,
    "EOS counted as a word": lambda tokens: [*tokens, "<eos>"],
    "BOS and EOS counted as words": lambda tokens: ["<bos>", *tokens, "<eos>"],
    "words of one letter removed": lambda tokens: drop_short(tokens),
    "words of one letter removed, BOS and EOS counted": (
        lambda tokens: ["<bos>", *drop_short(tokens), "<eos>"]
    ),
}
ONE_REFERENCE = "one reference instead of five"
METRICS = ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D")


def drop_short(tokens: Tokens) -> Tokens:
    """The tokens that have more than one letter."""
    return [token for token in tokens if len(token) > 1]


# === Baselines ===


def measure_baselines(photos: Photos) -> None:
    """Score the constant caption and one human caption, and write the file of baselines."""
    references = [photos.captions[name] for name in photos.splits[SPLIT]]
    train_captions = [
        caption for name in photos.splits["train"] for caption in photos.captions[name]
    ]
    constant = constant_caption(train_captions)
    scores = {
        "constant caption": score([constant] * len(references), References(references)),
        "one human caption": human_baseline(references),
    }
    write_scores(scores, BASELINES)


def read_scores(path: Path) -> dict[str, dict[str, float]]:
    """The scores of each system in a file."""
    return json.loads(path.read_text())


def write_scores(scores: dict[str, dict[str, float]], path: Path) -> None:
    """Write the scores of each system into a file."""
    content = {name: rounded(each) for name, each in scores.items()}
    path.write_text(json.dumps(content, indent=1) + "\n")


# === Conventions ===


def measure_conventions(photos: Photos, predictions: Path) -> None:
    """Score the same predictions under each rule, and write the file of conventions.

    Args:
        photos: The photos with their references.
        predictions: A file of lines `photo: caption`, as danieljl/keras-image-captioning has it.
    """
    captions = read_predictions(predictions)
    names = photos.splits[SPLIT]
    candidates = [captions[photos.paths[name].name] for name in names]
    references = [photos.captions[name] for name in names]
    write_scores(score_conventions(candidates, references), CONVENTIONS)


def score_conventions(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """The scores of the same captions under each of `RULES`, and with one reference each."""
    scores = {}
    for name, rule in RULES.items():
        counted = [rule(tokenize(caption)) for caption in candidates]
        counted_references = [
            [rule(tokenize(caption)) for caption in captions] for captions in references
        ]
        scores[name] = score(counted, counted_references)
    scores[ONE_REFERENCE] = score(candidates, [captions[:1] for captions in references])
    return scores


def read_predictions(path: Path) -> dict[str, str]:
    """The captions of a file of lines `photo: caption`, without the end token `zeosz`."""
    text = re.sub(r"\n +", " ", path.read_text(encoding="utf-8"))  # continued lines
    captions = {}
    for line in text.splitlines():
        photo, colon, caption = line.partition(": ")
        if not colon:
            raise SystemExit(f"{path}: {line[:40]!r} is no line 'photo: caption'")
        captions[photo] = re.sub(r"\s*\bzeosz\b", "", caption).strip()
    return captions


def convention_table() -> str:
    """The scores of the same captions under each rule, as a table."""
    rows: list[list[Any]] = []
    for name, scores in read_scores(CONVENTIONS).items():
        rows.append([name, *(f"{scores[metric]:.3f}" for metric in METRICS)])
    return markdown_table(["what is counted", *METRICS], rows, len(METRICS))
