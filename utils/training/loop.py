"""The training loop: after every epoch the captioner is scored by the captions that it generates.

The epoch whose captions for the validation photos have the best CIDEr-D is kept, since the loss
goes on falling long after the captions have stopped getting better. What is scored and kept is the
exponential moving average (EMA) of the weights, which changes less from step to step.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.config import Config
from utils.data.tokenizer import PAD_ID
from utils.errors import CaptionsError
from utils.training.batching import (
    TrainData,
    bucketed_batches,
    prefetch_batches,
    sample_views,
)
from utils.training.checkpoint import (
    History,
    Progress,
    best_epoch,
    load_checkpoint,
    save_checkpoint,
)
from utils.training.distribution import fits_in_memory, replicate
from utils.training.step import CaptionSampler, make_optimizer, make_train_step
from utils.training.validation import ValidationResult, Validator

# Called after every epoch with its row of the history, and the validation photos' captions.
EpochCallback = Callable[[dict[str, float], list[str]], None]


@dataclass(frozen=True)
class Stage:
    """One stage of a training run.

    Attributes:
        name: One of `artifacts.STAGES`; names the checkpoint.
        title: The key of its history.
        config: The run's configuration with the epochs, learning rate and label smoothing of this
            stage.
        learning_rate_setting: The setting that its learning rate comes from.
        caption_sampler: Chooses the captions to train on; the references by default.
        on_epoch: Called after every epoch; by default a line is written to stderr.
    """

    name: str
    title: str
    config: Config
    learning_rate_setting: str = "learning_rate"
    caption_sampler: CaptionSampler | None = None
    on_epoch: EpochCallback | None = None

    @property
    def checkpoint_pattern(self) -> str:
        """The checkpoints that another learning rate makes obsolete."""
        if self.learning_rate_setting == "learning_rate":  # all stages depend on the first one's
            return "checkpoint-*.pkl"
        return f"checkpoint-{self.name}-*.pkl"


def train(
    captioner: Any,
    data: TrainData,
    grid: np.ndarray,
    validate: Validator,
    config: Config,
    stage: Stage | None = None,
) -> History:
    """Train a captioner; it ends with the EMA weights of its best epoch.

    Args:
        captioner: The model.
        data: Rows of the grid and token IDs.
        grid: Features `(rows, cells, channels)`.
        validate: Measures the captioner's metrics; "CIDEr-D" decides which epoch is kept.
        config: The configuration of the run.
        stage: Gives epochs, learning rate, label smoothing and the checkpoint that is resumed;
            without a stage these are those of `config`, and there is no checkpoint.

    Returns:
        The history, one dict per epoch.

    Raises:
        CaptionsError: Captioner and data do not fit, or the loss is not finite.
    """
    # 1. Plan the batches of all epochs.
    strategy = captioner.distribute_strategy
    stage_config = stage.config if stage else config
    check_shapes(captioner, data, grid)
    plans = plan_epochs(data, strategy.num_replicas_in_sync, stage_config)
    tokens_per_photo = count_tokens(data.token_ids)

    # 2. Create the optimizer, and continue from the checkpoint where there is one.
    optimizer = build_optimizer(captioner, stage_config, steps=sum(len(plan) for plan in plans))
    progress = load_checkpoint(captioner, optimizer, config, stage.name) if stage else Progress()

    # 3. Keep the features on the devices if they fit there, and compile the step.
    device_features, host_features = place_features(grid, strategy)
    sampler = stage.caption_sampler if stage else None
    step = make_train_step(captioner, optimizer, stage_config, device_features, sampler)

    # 4. Train epoch by epoch: score, remember the best weights, save a checkpoint.
    with tqdm(desc=config.decoder, unit=" tokens", unit_scale=True) as bar:
        remaining = plans[len(progress.history) :]
        bar.total = sum(tokens_per_photo[plan].sum() for plan in remaining)
        while not should_stop(progress.history, stage_config):
            epoch = len(progress.history) + 1
            plan = plans[epoch - 1]
            epoch_data = TrainData(sample_views(data.rows, (config.seed, epoch)), data.token_ids)
            batches = prefetch_batches(plan, epoch_data, host_features, strategy)
            batch_tokens = tokens_per_photo[plan].sum(axis=1)
            loss = train_epoch(step, zip(batches, batch_tokens, strict=True), bar, epoch, stage)
            result, ema_weights = evaluate_ema(captioner, optimizer, validate)
            progress.add_epoch(loss, result.metrics, ema_weights)
            report_epoch(progress.history[-1], result.captions, stage)
            if stage and strategy.extended.should_checkpoint:  # one machine of a cluster saves
                save_checkpoint(captioner, optimizer, config, stage.name, progress)
    captioner.set_weights(progress.best_weights)
    return progress.history


def build_optimizer(captioner: Any, config: Config, steps: int) -> Any:
    """The optimizer of a captioner, with its variables on the captioner's devices."""
    with captioner.distribute_strategy.scope():
        optimizer = make_optimizer(config, steps)
        optimizer.build(captioner.trainable_weights)
    return optimizer


def place_features(grid: np.ndarray, strategy: Any) -> tuple[Any, np.ndarray | None]:
    """Where the features are: on every replica's device if they fit there, or on the host.

    Returns:
        The features on the devices and on the host; one of the two is None.
    """
    if fits_in_memory(grid):
        return replicate(strategy, lambda replica: grid), None
    return None, grid


def check_shapes(captioner: Any, data: TrainData, grid: np.ndarray) -> None:
    """Raise an error if captioner, training data and features do not fit together."""
    token_id = data.token_ids.max()
    row = data.rows.max()
    vocab_size = captioner.vocab_size
    channels = captioner.channels
    if token_id >= vocab_size or row >= len(grid) or grid.shape[2] != channels:
        raise CaptionsError(
            f"03_train: a captioner of {vocab_size} tokens and {channels} channels cannot be "
            f"trained on token ID {token_id}, row {row} and features {grid.shape}: build it for "
            "these data"
        )


def global_batch_size(photos: int, replicas: int, config: Config) -> int:
    """Photos per batch, the same number for each replica.

    Raises:
        CaptionsError: There is not a photo for each replica.
    """
    if photos < replicas:
        raise CaptionsError(
            f"03_train: {photos} photos cannot be divided among {replicas} devices: add photos, or "
            "use fewer devices, e.g. with CUDA_VISIBLE_DEVICES=0"
        )
    batch_size = min(config.batch_size, photos) // replicas * replicas
    if batch_size == 0:
        raise CaptionsError(
            f"setting 'batch_size={config.batch_size}': cannot be divided among {replicas} "
            f"devices: set it to {replicas} or more"
        )
    return batch_size


def plan_epochs(data: TrainData, replicas: int, config: Config) -> list[np.ndarray]:
    """The batches of every epoch, each `(batches, batch_size)` indices of photos."""
    batch_size = global_batch_size(len(data.rows), replicas, config)
    plans = []
    for epoch in range(1, config.epochs + 1):
        plans.append(bucketed_batches(data.token_ids, batch_size, (config.seed, epoch)))
    return plans


def count_tokens(token_ids: np.ndarray) -> np.ndarray:
    """The number of tokens to predict for each photo, from `(photos, captions, time)`."""
    targets = token_ids[..., 1:]
    return (targets != PAD_ID).sum(axis=(1, 2))


def train_epoch(
    step: Callable[[Any, Any], Any],
    batches: Iterable[tuple[tuple[Any, Any], int]],
    bar: Any,
    epoch: int,
    stage: Stage | None = None,
) -> float:
    """Train on all batches once.

    Args:
        step: The compiled training step.
        batches: Pairs of a batch and its number of tokens.
        bar: The progress bar.
        epoch: The number of the epoch, for the progress bar and errors.
        stage: The stage of the training, for errors.

    Returns:
        The mean loss.

    Raises:
        CaptionsError: A loss is NaN or infinite.
    """
    losses: list[Any] = []
    for (features, token_ids), tokens in batches:
        losses.append(step(features, token_ids))
        if len(losses) % 20 == 1:  # reading a loss waits for the device
            bar.set_postfix_str(f"epoch {epoch}, loss {float(losses[-1]):.2f}", refresh=False)
        bar.update(tokens)
    finite = np.isfinite(np.array(losses))
    if not finite.all():
        setting = stage.learning_rate_setting if stage else "learning_rate"
        files = stage.checkpoint_pattern if stage else "checkpoint-*.pkl"
        raise CaptionsError(
            f"03_train: the loss of epoch {epoch} is not finite from batch {np.argmin(finite) + 1} "
            f"on: lower {setting}, delete {files} in the working folder, run 03_train again"
        )
    return float(np.mean(losses))


def report_epoch(row: dict[str, float], captions: list[str], stage: Stage | None) -> None:
    """Call the callback of the stage, or write the epoch's numbers to stderr."""
    with tqdm.external_write_mode():  # clears the progress bar meanwhile
        if stage and stage.on_epoch:
            stage.on_epoch(row, captions)
        else:
            metrics = [f"{name} {value:.3f}" for name, value in row.items() if name != "epoch"]
            print(f"epoch {row['epoch']:3}", *metrics, sep="  ", file=sys.stderr)


def evaluate_ema(
    captioner: Any, optimizer: Any, validate: Validator
) -> tuple[ValidationResult, list[np.ndarray]]:
    """Validate the captioner with the EMA of its weights; it keeps its own weights.

    Returns:
        The metrics with the generated captions, and the EMA weights.
    """
    strategy = captioner.distribute_strategy
    weights = captioner.get_weights()
    optimizer.finalize_variable_values(captioner.trainable_weights)
    result = validate(captioner)
    ema_weights = captioner.get_weights()
    captioner.set_weights(weights)
    # The machines of a cluster use the mean of their scores, so that all stop at the same epoch.
    scores = strategy.run(lambda: tf.constant(result.metrics["CIDEr-D"], tf.float64))
    mean_score = float(strategy.reduce("MEAN", scores, axis=None))
    metrics = {**result.metrics, "CIDEr-D": mean_score}
    return result._replace(metrics=metrics), ema_weights


def should_stop(history: History, config: Config) -> bool:
    """Whether all epochs are done, or the best one was `patience` epochs ago (early stopping)."""
    if not history:
        return False
    epochs_since_best = len(history) - best_epoch(history)
    return len(history) >= config.epochs or epochs_since_best >= config.patience
