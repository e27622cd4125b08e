"""The training loop: after every epoch the captioner is scored by the captions that it generates.

The epoch whose captions for the validation photos have the best CIDEr-D is kept, since the loss
goes on falling long after the captions have stopped getting better. What is scored and kept is the
exponential moving average (EMA) of the weights, which changes less from step to step.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils import artifacts
from utils.config import Config
from utils.data.tokenizer import PAD_ID, Tokenizer
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.evaluation.metrics import References, cider_d
from utils.training.batching import TrainData, bucketed_batches, prefetch_batches, sample_views
from utils.training.distribution import fits_in_memory, replicate
from utils.training.step import CaptionSampler, make_optimizer, make_train_step

History = list[dict[str, float]]  # one dict per epoch: "epoch", "loss", "CIDEr-D"
Validator = Callable[[Any], float]


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    Attributes:
        name: One of `artifacts.STAGES`; names the checkpoint.
        title: The key of its history.
        config: The run's configuration with the epochs, learning rate and label smoothing of this
            stage.
        learning_rate_setting: The setting that its learning rate comes from.
        caption_sampler: Chooses the captions to train on; the humans' by default.
    """

    name: str
    title: str
    config: Config
    learning_rate_setting: str = "learning_rate"
    caption_sampler: CaptionSampler | None = None

    @property
    def checkpoint_pattern(self) -> str:
        """The checkpoints that another learning rate makes useless."""
        if self.learning_rate_setting == "learning_rate":  # all stages depend on the first one's
            return "checkpoint-*.pkl"
        return f"checkpoint-{self.name}-*.pkl"


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        history: A dict for each epoch.
        best_weights: The EMA of the weights after the best epoch.
    """

    history: History = field(default_factory=list)
    best_weights: list[np.ndarray] | None = None

    def add_epoch(self, loss: float, score: float, weights: list[np.ndarray]) -> None:
        """Append an epoch; keep its weights if it is better than all before."""
        if all(score > row["CIDEr-D"] for row in self.history):
            self.best_weights = weights
        self.history.append({"epoch": len(self.history) + 1, "loss": loss, "CIDEr-D": score})


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
        validate: Gives the captioner's score, which decides which epoch is kept.
        config: The configuration of the run.
        stage: The stage of the training. Its configuration decides how long and how fast it is
            trained, and a checkpoint is saved after every epoch, from which a training that was
            interrupted continues to the very same result. Without a stage there is no checkpoint.

    Returns:
        The history, one dict per epoch.

    Raises:
        CaptionsError: Captioner and data do not fit, or the loss is not finite.
    """
    # 1. Plan the batches of all epochs.
    strategy = captioner.distribute_strategy
    stage_config = stage.config if stage else config
    caption_sampler = stage.caption_sampler if stage else None
    check_shapes(captioner, data, grid)
    batch_size = global_batch_size(len(data.rows), strategy.num_replicas_in_sync, config)
    plans = plan_epochs(data, batch_size, stage_config)
    tokens_per_photo = (data.token_ids[..., 1:] != PAD_ID).sum(axis=(1, 2))

    # 2. Create the optimizer, and continue from the checkpoint where there is one.
    with strategy.scope():
        optimizer = make_optimizer(stage_config, steps=sum(len(plan) for plan in plans))
        optimizer.build(captioner.trainable_weights)
    progress = load_checkpoint(captioner, optimizer, config, stage) if stage else Progress()

    # 3. Keep the features on the devices if they fit there, and compile the step.
    device_features = replicate(strategy, lambda replica: grid) if fits_in_memory(grid) else None
    host_features = grid if device_features is None else None
    step = make_train_step(captioner, optimizer, stage_config, device_features, caption_sampler)

    # 4. Train epoch by epoch; score, remember the best weights, save a checkpoint.
    with tqdm(desc=config.decoder, unit=" tokens", unit_scale=True) as bar:
        bar.total = sum(tokens_per_photo[plan].sum() for plan in plans[len(progress.history) :])
        while not should_stop(progress.history, stage_config):
            epoch = len(progress.history) + 1
            plan = plans[epoch - 1]
            epoch_data = TrainData(sample_views(data.rows, (config.seed, epoch)), data.token_ids)
            batches = prefetch_batches(plan, epoch_data, host_features, strategy)
            tokens_per_batch = tokens_per_photo[plan].sum(axis=1)
            loss = train_epoch(step, zip(batches, tokens_per_batch, strict=True), bar, epoch, stage)
            score, ema_weights = evaluate_ema(captioner, optimizer, validate)
            progress.add_epoch(loss, score, ema_weights)
            bar.write(f"epoch {epoch:3}  loss {loss:.3f}  CIDEr-D {score:.3f}", file=sys.stderr)
            if stage and strategy.extended.should_checkpoint:  # one machine of a cluster saves
                save_checkpoint(captioner, optimizer, config, stage, progress)
    captioner.set_weights(progress.best_weights)
    return progress.history


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
    batch_size = min(config.batch_size, photos) // replicas * replicas
    if batch_size == 0:
        raise CaptionsError(
            f"setting 'batch_size={config.batch_size}': {photos} photos cannot be divided among "
            f"{replicas} devices: raise it, or train on more photos"
        )
    return batch_size


def plan_epochs(data: TrainData, batch_size: int, config: Config) -> list[np.ndarray]:
    """The batches of every epoch, each `(batches, batch_size)` indices of photos."""
    plans = []
    for epoch in range(1, config.epochs + 1):
        plans.append(bucketed_batches(data.token_ids, batch_size, (config.seed, epoch)))
    return plans


def training_variables(captioner: Any, optimizer: Any) -> list[Any]:
    """All variables that a training changes but those of loss scaling."""
    inner_optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return [*captioner.variables, *inner_optimizer.variables]


def loss_scale_variables(optimizer: Any) -> list[Any]:
    """The variables of loss scaling; there are some in float16 only."""
    if not hasattr(optimizer, "inner_optimizer"):
        return []
    return [optimizer.step_counter, optimizer.dynamic_scale]


def save_checkpoint(
    captioner: Any, optimizer: Any, config: Config, stage: Stage, progress: Progress
) -> None:
    """Save all that a training needs to continue to the very same result."""
    checkpoint = {
        "variables": [np.asarray(each) for each in training_variables(captioner, optimizer)],
        "loss_scale": [np.asarray(each) for each in loss_scale_variables(optimizer)],
        "history": progress.history,
        "best_weights": progress.best_weights,
    }
    artifacts.save(stage.name, checkpoint, config)


def load_checkpoint(captioner: Any, optimizer: Any, config: Config, stage: Stage) -> Progress:
    """Restore the checkpoint of a stage.

    Returns:
        The progress of the training; that of a new one if there is no checkpoint.
    """
    if not artifacts.find(stage.name, config):
        return Progress()
    checkpoint = artifacts.load(stage.name, config)
    variables = training_variables(captioner, optimizer)
    for variable, value in zip(variables, checkpoint["variables"], strict=True):
        variable.assign(value)
    # A checkpoint of a machine with another precision has no loss scale, or needs none.
    for variable, value in zip(
        loss_scale_variables(optimizer), checkpoint["loss_scale"], strict=False
    ):
        variable.assign(value)
    return Progress(checkpoint["history"], checkpoint["best_weights"])


def train_epoch(
    step: Callable[[Any, Any], Any],
    batches: Iterable[tuple[tuple[Any, Any], int]] | Iterator,
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


def evaluate_ema(
    captioner: Any, optimizer: Any, validate: Validator
) -> tuple[float, list[np.ndarray]]:
    """Score the captioner with the EMA of its weights; it keeps its own weights.

    Returns:
        The score and the EMA weights.
    """
    strategy = captioner.distribute_strategy
    weights = captioner.get_weights()
    optimizer.finalize_variable_values(captioner.trainable_weights)
    score = validate(captioner)
    ema_weights = captioner.get_weights()
    captioner.set_weights(weights)
    # The machines of a cluster use the mean of their scores, so that all stop at the same epoch.
    scores = strategy.run(lambda: tf.constant(score, tf.float64))
    return float(strategy.reduce("MEAN", scores, axis=None)), ema_weights


def should_stop(history: History, config: Config) -> bool:
    """Whether all epochs are done, or the best one was `patience` epochs ago (early stopping)."""
    if not history:
        return False
    best_epoch = int(np.argmax([row["CIDEr-D"] for row in history])) + 1
    return len(history) >= config.epochs or len(history) - best_epoch >= config.patience


def make_validator(
    grid: np.ndarray,
    rows: np.ndarray,
    references: list[list[str]],
    tokenizer: Tokenizer,
    config: Config,
) -> Validator:
    """Make a function that gives the CIDEr-D of a captioner's own captions, by greedy search.

    A loss with teacher forcing would show the captioner the humans' captions.

    Args:
        grid: Features `(rows, cells, channels)`.
        rows: The rows of the validation photos.
        references: The captions of each of them.
        tokenizer: Decodes the generated captions.
        config: The configuration of the run.
    """
    if len(rows) == 0:
        raise CaptionsError("captions.pkl: has no photos to validate on: run 02_text on others")

    corpus = References(references)

    def validate(captioner: Any) -> float:
        output = generate(captioner, grid, config, beam_width=1, rows=rows, progress=False)
        captions = [tokenizer.decode(token_ids) for token_ids in output.token_ids]
        return float(cider_d(captions, corpus)[0])

    return validate
