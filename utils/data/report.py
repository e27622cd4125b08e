"""What the data of a run are, in a few lines, before anything is computed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.config import Config
from utils.data.photos import Photos
from utils.data.tokenizer import Tokenizer, tokenize

MAX_NAMES = 5  # that a line lists
# Fraction of unknown tokens, or of truncated captions, above which a line says what to do.
MANY = 0.2
LONG_PERCENTILE = 95  # of the caption lengths: the `max_length` that is proposed


class Vocabulary(NamedTuple):
    """How well a vocabulary and the limit of the length fit the captions.

    Attributes:
        size: The number of tokens.
        unknown: The fraction of the validation tokens that are not in the vocabulary.
        truncated: The fraction of the training captions that are longer than `max_length`.
        long_caption: A length that few training captions exceed.
    """

    size: int
    unknown: float
    truncated: float
    long_caption: int


def describe_data(photos: Photos, config: Config, words: Sequence[str] = ()) -> list[str]:
    """The lines of a report on the data of a run.

    Args:
        photos: The photos of the run.
        config: The configuration of the run.
        words: The vocabulary of the run that `start_from` names.

    Returns:
        One line each on the captions files, the photos of each split, the captions per photo, the
        vocabulary and the unknown tokens, and lines on what to change, and on what is left out, and
        why.
    """
    vocabulary = measure_vocabulary(photos, config, words)
    lines = [
        f"captions    {photos.source}",
        f"photos      {describe_splits(photos)}; split: {photos.split_source}",
        f"references  {describe_references(photos)}",
        f"vocabulary  {describe_vocabulary(vocabulary, config)}",
    ]
    problems = vocabulary_problems(vocabulary, config)
    lines += [f"note        {line}" for line in [*problems, *photos.notes]]
    return lines + [f"left out    {line}" for line in describe_left_out(photos)]


def describe_splits(photos: Photos) -> str:
    """The number of photos in each split."""
    return ", ".join(f"{len(names):,} {split}" for split, names in photos.splits.items())


def describe_references(photos: Photos) -> str:
    """The number of captions per photo."""
    counts = [len(photos.captions[name]) for name in photos.names]
    if min(counts) == max(counts):
        return f"{counts[0]} per photo"
    return f"{min(counts)} to {max(counts)} per photo, {sum(counts) / len(counts):.1f} on average"


def measure_vocabulary(photos: Photos, config: Config, words: Sequence[str]) -> Vocabulary:
    """Fit the vocabulary as 02_text does, and measure how well it fits the captions."""
    train_captions = []
    for name in photos.splits["train"]:
        train_captions.extend(photos.captions[name])
    tokenizer = Tokenizer.fit(train_captions, config.min_count, config.max_length, words)
    total = 0
    unknown = 0
    for name in photos.splits["validation"]:
        for caption in photos.captions[name]:
            for token in tokenize(caption):
                total += 1
                unknown += token not in tokenizer.word_to_id
    lengths = np.array([len(tokenize(caption)) for caption in train_captions])
    long_caption = int(np.ceil(np.percentile(lengths, LONG_PERCENTILE)))
    truncated = float(np.mean(lengths > config.max_length))
    return Vocabulary(len(tokenizer), unknown / max(1, total), truncated, long_caption)


def describe_vocabulary(vocabulary: Vocabulary, config: Config) -> str:
    """The size of the vocabulary and the unknown tokens."""
    return (
        f"{vocabulary.size:,} tokens (min_count={config.min_count}); {vocabulary.unknown:.1%} of "
        "the validation tokens are unknown"
    )


def vocabulary_problems(vocabulary: Vocabulary, config: Config) -> list[str]:
    """A line for each setting that does not fit the captions, with a better value."""
    problems = []
    if vocabulary.unknown > MANY:
        fix = "add captions"
        if config.min_count > 1:
            fix = f"lower min_count={config.min_count}, or {fix}"
        problems.append(f"{vocabulary.unknown:.0%} of the validation tokens are unknown: {fix}")
    if vocabulary.truncated > MANY:
        problems.append(
            f"{vocabulary.truncated:.0%} of the training captions are longer than "
            f"max_length={config.max_length}: set max_length={vocabulary.long_caption}"
        )
    return problems


def describe_left_out(photos: Photos) -> list[str]:
    """A line for each reason why photos are not used, with the first of their names."""
    names_by_reason: dict[str, list[str]] = {}
    for name, reason in photos.skipped.items():
        if reason.startswith("the same image as"):
            reason = "the same image as one of a later split"
        names_by_reason.setdefault(reason, []).append(name)
    if photos.unlisted:
        names_by_reason["in none of the lists of the split"] = photos.unlisted
    return [
        f"{len(names):,} ({reason}): {list_some(names)}"
        for reason, names in names_by_reason.items()
    ]


def list_some(names: Sequence[str]) -> str:
    """The first names, and how many there are beyond."""
    listed = ", ".join(names[:MAX_NAMES])
    more = len(names) - MAX_NAMES
    return f"{listed} and {more:,} more" if more > 0 else listed
