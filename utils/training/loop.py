"""The training loop: one compiled step on one device or many, the best epoch by what it writes.

After every epoch the captioner writes captions for the validation photos, and the epoch with the
best CIDEr-D of these is kept: the loss keeps falling long after the captions have stopped getting
better. What is judged and kept is the moving average of the weights, which jitters less.
"""

import sys

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils import artifacts
from utils.data.tokenizer import PAD_ID
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.evaluation.metrics import References, cider_d
from utils.training.batching import bucketed_batches, prefetch_batches, sample_views
from utils.training.distribution import fits_in_memory, replicate
from utils.training.step import make_optimizer, make_train_step

STAGE_RATES = {
    "fine_tune": "fine_tune_learning_rate",
    "scst": "scst_learning_rate",
}


def train(captioner, pairs, grid, validate, config, resume=None, lesson=None, course=None):
    """Train; returns the history, a list of one dict an epoch, and leaves the best weights.

    `validate(captioner)` gives the score that chooses the best epoch. With `resume`, the name of
    the stage, checkpoints are kept, and a training that was stopped goes on from the last one. A
    `lesson` trains on other captions than people's (see `make_step`), and a `course`, settings
    too, says for how long and how fast, if not as the run's. Taught in 03_train.
    """
    course = course or config
    strategy, size = (
        captioner.distribute_strategy,
        global_batch_size(captioner, pairs, grid, config),
    )
    plans = [bucketed_batches(pairs[1], size, (config.seed, 1 + n)) for n in range(course.epochs)]
    with strategy.scope():
        optimizer = make_optimizer(course, sum(map(len, plans)))
        optimizer.build(captioner.trainable_weights)
    state = [*captioner.variables, *optimizer.variables]
    known = resume and artifacts.find(resume, config)
    saved = artifacts.load(resume, config) if known else {"history": [], "best": None}
    history, best = saved["history"], saved["best"]
    for variable, array in zip(state, saved.get("state", state), strict=True):
        variable.assign(array)
    table = replicate(strategy, lambda number: grid) if fits_in_memory(grid) else None
    step = make_train_step(captioner, optimizer, course, table, lesson)
    counts = (pairs[1][..., 1:] != PAD_ID).sum(axis=(1, 2))
    with tqdm(desc=config.decoder, unit=" words", unit_scale=True) as bar:
        bar.total = sum(int(counts[plan].sum()) for plan in plans[len(history) :])
        while not should_stop(history, course):
            plan, epoch = plans[len(history)], len(history) + 1
            views = sample_views(pairs[0], (config.seed, epoch)), pairs[1]
            inputs = prefetch_batches(plan, views, grid if table is None else None, strategy)
            inputs = zip(inputs, counts[plan].sum(axis=1), strict=True)
            loss = train_epoch(step, inputs, bar, epoch, resume)
            score, weights = evaluate_ema(captioner, optimizer, validate)
            if all(score > row["CIDEr-D"] for row in history):
                best = weights
            history.append({"epoch": epoch, "loss": loss, "CIDEr-D": score})
            bar.write(f"epoch {epoch:3}  loss {loss:.3f}  CIDEr-D {score:.3f}", file=sys.stderr)
            if resume and strategy.extended.should_checkpoint:  # a cluster shares the folder
                now = {"state": list(map(np.asarray, state)), "history": history, "best": best}
                artifacts.save(resume, now, config)
    captioner.set_weights(best)
    return history


def global_batch_size(captioner, pairs, grid, config):
    """Photos in a batch, as many for each device, if all belongs together."""
    (rows, words), devices = pairs, captioner.distribute_strategy.num_replicas_in_sync
    known, channels = captioner.vocab_size, captioner.channels
    if words.max() >= known or rows.max() >= len(grid) or grid.shape[2] != channels:
        raise CaptionsError(
            f"03_train: a captioner of {known} words and {channels} channels can't learn word "
            f"{words.max()} of photo {rows.max()} from features {grid.shape}: build it for these"
        )
    if size := min(config.batch_size, len(rows)) // devices * devices:
        return size
    raise CaptionsError(
        f"setting 'batch_size={config.batch_size}': {len(rows)} photos to learn from, and "
        f"{devices} devices want one each: raise it, or bring more photos"
    )


def train_epoch(step, inputs, bar, epoch, stage=None):
    """The mean loss of one pass over all batches; one that is no number ends the training."""
    losses = []
    for batch, words in inputs:
        losses.append(step(*batch))
        if len(losses) % 20 == 1:  # to ask for a number is to wait for it
            bar.set_postfix_str(f"epoch {epoch}, loss {float(losses[-1]):.2f}", refresh=False)
        bar.update(words)
    real = np.isfinite(np.array(losses))
    if not real.all():
        rate = STAGE_RATES.get(stage, "learning_rate")
        files = f"{stage if stage in STAGE_RATES else '*'}-*-*.pkl"  # checkpoints of another rate
        raise CaptionsError(
            f"03_train: the loss of epoch {epoch} is no number from batch {np.argmin(real) + 1} "
            f"on: lower {rate}, delete {files} in the working folder, run 03_train again"
        )
    return float(np.mean(losses))


def evaluate_ema(captioner, optimizer, validate):
    """The score of the averaged weights, and these; the captioner keeps its own to go on with."""
    strategy, weights = captioner.distribute_strategy, captioner.get_weights()
    optimizer.finalize_variable_values(captioner.trainable_weights)
    score, average = validate(captioner), captioner.get_weights()
    captioner.set_weights(weights)
    # Processes of a cluster take the mean of their scores: they must decide alike.
    scores = strategy.run(lambda: tf.constant(score, tf.float64))
    return float(strategy.reduce("MEAN", scores, axis=None)), average


def should_stop(history, config):
    """Whether all epochs are done, or the best was `patience` epochs ago."""
    scores = [row["CIDEr-D"] for row in history]
    late = len(scores) - 1 - int(np.argmax(scores)) if scores else 0
    return len(history) >= config.epochs or late >= config.patience


def make_validator(grid, rows, references, tokenizer, config):
    """A function that gives a captioner's CIDEr-D on captions it writes freely, greedily.

    Teacher-forced scores would let the model see the words that people wrote.
    """
    if not len(rows):
        raise CaptionsError("captions.pkl: no photo to validate on: run 02_text on other photos")

    references = References(references)

    def validate(captioner):
        written = generate(captioner, grid, config, 1, progress=False, rows=rows)
        captions = [tokenizer.decode(row) for row in written.words]
        return float(cider_d(captions, references)[0])

    return validate
