"""The stages of a training run: decoder, fine-tuning of the CNN, SCST; and ensembles."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from utils import feature_grids
from utils.config import Config
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import WHOLE_VIEWS, EndToEndCaptioner, attach_top_blocks
from utils.models.warm_start import load_matching_weights
from utils.training.batching import Datasets, TrainData
from utils.training.checkpoint import History, best_epoch
from utils.training.loop import EpochCallback, Stage, train
from utils.training.scst import self_critical_sampler
from utils.training.validation import Validator, make_validator


def train_all(
    build: Callable[[Config], Any],
    features: dict[str, Any],
    backbone_features: dict[str, Any] | None,
    datasets: Datasets,
    config: Config,
    on_epoch: EpochCallback | None = None,
) -> tuple[Any, dict[str, History]]:
    """Train all that the configuration asks for: every stage, every member of an ensemble.

    Args:
        build: Gives an untrained captioner for a configuration.
        features: The artifact `features`.
        backbone_features: The artifact of that name, for fine-tuning.
        datasets: The data of training and validation, with rows of the grid.
        config: The configuration of the run.
        on_epoch: Called after every epoch, see `EpochCallback`; the default writes to stderr.

    Returns:
        The captioner or ensemble, and the history of each stage (of an ensemble's first member).
    """
    members = []
    histories = []
    for number in range(config.ensemble_size):
        member_config = replace(config, seed=config.seed + number)
        captioner = build(member_config)
        member_features = load_matching_weights(
            captioner, backbone_features, number, datasets.validation.tokenizer, member_config
        )
        captioner, history = train_member(
            captioner, features, member_features, datasets, member_config, on_epoch
        )
        members.append(captioner)
        histories.append(history)
    captioner = Ensemble(members) if len(members) > 1 else members[0]
    return captioner, histories[0]


def train_member(
    captioner: Any,
    features: dict[str, Any],
    backbone_features: Any,
    datasets: Datasets,
    config: Config,
    on_epoch: EpochCallback | None = None,
) -> tuple[Any, dict[str, History]]:
    """Train one captioner in its stages, each from the best weights of those before.

    Returns:
        The captioner, end to end where the CNN is fine-tuned, and the history of each stage.
    """
    train_data = datasets.train
    if config.fine_tune_epochs:
        captioner, rows, grid = attach_top_blocks(
            captioner, backbone_features, train_data.rows, config
        )
        train_data = TrainData(rows, train_data.token_ids)
    else:
        grid = feature_grids.load_grid(features, config)
    validate = make_validator(grid, datasets.validation, config)
    start_score = report_start(captioner, validate, config)
    histories = {}
    kept: dict[str, Any] = {"CIDEr-D": -1.0}
    for stage in build_stages(config, captioner, train_data.token_ids):
        weights_before = captioner.get_weights()
        stage = replace(stage, on_epoch=on_epoch)
        history = train_stage(captioner, train_data, grid, validate, config, stage)
        histories[stage.title] = history
        best = history[best_epoch(history) - 1]
        if best["CIDEr-D"] < kept["CIDEr-D"]:  # the stage made it worse: undo it
            captioner.set_weights(weights_before)
        else:
            kept = {**best, "stage": stage.title}
    report_kept(kept, start_score)
    return captioner, histories


def report_start(captioner: Any, validate: Validator, config: Config) -> float | None:
    """Say on stderr which captioner a training starts from, and how good it is there.

    Returns:
        Its validation score; None without `start_from`.
    """
    if not config.start_from:
        return None
    score = validate(captioner).metrics["CIDEr-D"]
    print(
        f"starts from {config.start_from}: CIDEr-D {score:.3f} on the validation photos before the "
        "first epoch",
        file=sys.stderr,
    )
    return score


def report_kept(kept: dict[str, Any], start_score: float | None) -> None:
    """Say on stderr which stage and epoch the weights at the end come from."""
    line = f"kept: stage {kept['stage']}, epoch {kept['epoch']}, CIDEr-D {kept['CIDEr-D']:.3f}"
    if start_score is not None:
        line += f" ({kept['CIDEr-D'] - start_score:+.3f} since the start)"
    print(line, file=sys.stderr)


def build_stages(config: Config, captioner: Any, token_ids: np.ndarray) -> Iterator[Stage]:
    """The stages of a training run, in order; each is made when the one before it has ended.

    Args:
        config: The configuration of the run.
        captioner: The model, which self-critical training samples from.
        token_ids: The training captions, `(photos, captions, time)`.

    Yields:
        The stages; the document frequencies of SCST are counted only when its stage begins.
    """
    if config.fine_tune_epochs:
        first_name = "train_end_to_end"
    elif config.start_from:
        first_name = "warm_start"
    else:
        first_name = "train"
    yield Stage(first_name, config.decoder, config)
    if config.fine_tune_epochs:
        fine_tune_config = replace(
            config,
            epochs=config.fine_tune_epochs,
            learning_rate=config.fine_tune_learning_rate,
        )
        yield Stage("fine_tune", "fine-tuned", fine_tune_config, "fine_tune_learning_rate")
    if config.scst_epochs:
        scst_config = replace(
            config,
            epochs=config.scst_epochs,
            learning_rate=config.scst_learning_rate,
            label_smoothing=0.0,
        )
        sampler = self_critical_sampler(captioner, config, token_ids)
        yield Stage("scst", "SCST", scst_config, "scst_learning_rate", sampler)


def train_stage(
    captioner: Any,
    data: TrainData,
    grid: np.ndarray,
    validate: Validator,
    config: Config,
    stage: Stage,
) -> History:
    """`train` with the CNN's top blocks trainable, and crops of the photos, in one stage only."""
    if isinstance(captioner, EndToEndCaptioner):
        is_fine_tuning = stage.name == "fine_tune"
        captioner.set_encoder_trainable(is_fine_tuning)
        if not is_fine_tuning:
            data = TrainData(data.rows[:, :WHOLE_VIEWS], data.token_ids)
    return train(captioner, data, grid, validate, config, stage)
