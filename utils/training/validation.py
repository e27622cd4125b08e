"""Validation after every epoch: the loss of the references, and the score of generated captions.

The two measure different things. The loss scores the next token of a human caption, given the human
tokens before it (teacher forcing); CIDEr-D scores the sentence that the captioner generates on its
own. The second one decides which epoch is kept.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from utils.config import Config
from utils.data.tokenizer import PAD_ID
from utils.decoding.beam_search import generate
from utils.devices import compile_graph
from utils.evaluation.metrics import References, cider_d
from utils.feature_grids import read_rows
from utils.training.batching import TrainData, ValidationData, group_captions
from utils.training.loss import masked_loss
from utils.training.step import flatten_captions


class ValidationResult(NamedTuple):
    """What a validation measures.

    Attributes:
        metrics: The columns of the history: "CIDEr-D", which decides which epoch is kept, and
            "val_loss".
        captions: The generated caption of each validation photo.
    """

    metrics: dict[str, float]
    captions: list[str]


Validator = Callable[[Any], ValidationResult]


def make_validator(grid: np.ndarray, data: ValidationData, config: Config) -> Validator:
    """Make a function that validates a captioner.

    Args:
        grid: Features `(rows, cells, channels)`.
        data: The rows of the validation photos, their references, and the tokenizer.
        config: The configuration of the run.

    Returns:
        A function of a captioner. It gives the CIDEr-D of the captions that greedy search
        generates, and the mean cross-entropy of the references.
    """
    references = References(data.references)
    reference_data = group_captions(data.rows, data.references, data.tokenizer)

    def validate(captioner: Any) -> ValidationResult:
        output = generate(captioner, grid, config, beam_width=1, rows=data.rows, progress=False)
        captions = [data.tokenizer.decode(token_ids) for token_ids in output.token_ids]
        score, _ = cider_d(captions, references)
        loss = cross_entropy(captioner, grid, reference_data, config.batch_size)
        return ValidationResult({"val_loss": loss, "CIDEr-D": float(score)}, captions)

    return validate


def cross_entropy(captioner: Any, grid: np.ndarray, data: TrainData, batch_size: int) -> float:
    """Mean cross-entropy per token in nats, with teacher forcing.

    Padding is masked; there is no label smoothing and no dropout, so the exponential of this
    number is the perplexity.

    Args:
        captioner: The model.
        grid: Features `(rows, cells, channels)`.
        data: Rows of the grid and token IDs.
        batch_size: Photos per batch.
    """
    batch_loss = compiled_loss(captioner)
    losses = []
    tokens = []
    for rows, token_ids in full_batches(data, batch_size):
        losses.append(float(batch_loss(read_rows(grid, rows), token_ids)))
        tokens.append(np.count_nonzero(token_ids[..., 1:] != PAD_ID))
    return float(np.average(losses, weights=tokens))


@lru_cache(maxsize=4)
def compiled_loss(captioner: Any) -> Callable[[Any, Any], Any]:
    """The loss of one batch as a compiled graph; cached, so that it is traced once."""

    def batch_loss(features: Any, token_ids: Any) -> Any:
        captions = flatten_captions(token_ids)
        logits = captioner([features, captions[:, :-1]], training=False)
        return masked_loss(logits, captions[:, 1:], label_smoothing=0.0)

    return compile_graph(batch_loss)


def full_batches(data: TrainData, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of one size, so that the graph is traced once: rows of padding fill the last one."""
    count = len(data.rows)
    batch_size = min(batch_size, count)
    for start in range(0, count, batch_size):
        rows = data.rows[start : start + batch_size]
        token_ids = data.token_ids[start : start + batch_size]
        missing = batch_size - len(rows)
        yield (
            np.pad(rows, (0, missing), mode="edge"),
            np.pad(token_ids, ((0, missing), (0, 0), (0, 0)), constant_values=PAD_ID),
        )
