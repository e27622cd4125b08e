"""Checkpoints: an interrupted training resumes with bit-identical results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from utils import artifacts
from utils.config import Config
from utils.devices import dtype_policy

History = list[dict[str, float]]  # one dict per epoch: "epoch", "loss", "val_loss", "CIDEr-D"


@dataclass
class Progress:
    """How far a training run has come.

    Attributes:
        history: A dict for each epoch.
        best_weights: The EMA of the weights after the best epoch.
    """

    history: History = field(default_factory=list)
    best_weights: list[np.ndarray] | None = None

    def add_epoch(self, loss: float, metrics: dict[str, float], weights: list[np.ndarray]) -> None:
        """Append an epoch; keep its weights if it is the best by "CIDEr-D"."""
        self.history.append({"epoch": len(self.history) + 1, "loss": loss, **metrics})
        if best_epoch(self.history) == len(self.history):
            self.best_weights = weights


def best_epoch(history: Sequence[Mapping[str, float]]) -> int:
    """The number of the epoch with the best score, the last of several.

    With a single validation photo all scores are 0, as then no n-gram is rare: training should go
    on for all epochs.
    """
    scores = [row["CIDEr-D"] for row in history]
    return len(scores) - int(np.argmax(scores[::-1]))


def save_checkpoint(
    captioner: Any, optimizer: Any, config: Config, stage: str, progress: Progress
) -> None:
    """Save all that a training needs to continue to the same result.

    Args:
        captioner: The model.
        optimizer: Its optimizer.
        config: The configuration of the run.
        stage: The name of the stage, a key of `artifacts.ARTIFACTS`.
        progress: History and best weights.
    """
    variables = training_variables(captioner, optimizer)
    checkpoint = {
        "variables": [np.asarray(variable) for variable in variables],
        "loss_scale": [np.asarray(variable) for variable in loss_scale_variables(optimizer)],
        "history": progress.history,
        "best_weights": progress.best_weights,
    }
    artifacts.save(stage, checkpoint, with_precision(config))


def load_checkpoint(captioner: Any, optimizer: Any, config: Config, stage: str) -> Progress:
    """Restore the checkpoint of a stage, if there is one.

    Args:
        captioner: The model, whose variables are overwritten.
        optimizer: Its optimizer, likewise.
        config: The configuration of the run.
        stage: The name of the stage.

    Returns:
        The progress of the training; that of a new one if there is no checkpoint.

    Raises:
        CaptionsError: The checkpoint is damaged, belongs to another run, or was made in another
            precision.
    """
    if not artifacts.find(stage, config):
        return Progress()
    checkpoint = artifacts.load(stage, with_precision(config))
    variables = training_variables(captioner, optimizer)
    for variable, value in zip(variables, checkpoint["variables"], strict=True):
        variable.assign(value)
    scale_variables = loss_scale_variables(optimizer)
    for variable, value in zip(scale_variables, checkpoint["loss_scale"], strict=True):
        variable.assign(value)
    return Progress(checkpoint["history"], checkpoint["best_weights"])


def with_precision(config: Config) -> Config:
    """The configuration with the precision that this machine computes in.

    A checkpoint records it: a training that continued in another one would not end the same.
    """
    return replace(config, precision=dtype_policy(config))


def training_variables(captioner: Any, optimizer: Any) -> list[Any]:
    """All variables that a training changes but those of loss scaling."""
    inner_optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return [*captioner.variables, *inner_optimizer.variables]


def loss_scale_variables(optimizer: Any) -> list[Any]:
    """The variables of loss scaling, which only float16 has."""
    if not hasattr(optimizer, "inner_optimizer"):
        return []
    return [optimizer.step_counter, optimizer.dynamic_scale]
