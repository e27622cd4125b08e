"""The training loop: one compiled step on one device or many, the best epoch by what it writes.

After every epoch the captioner writes captions for the validation photos, and the epoch with the
best CIDEr-D of these is kept: the loss keeps falling long after the captions have stopped getting
better. What is judged and kept is the moving average of the weights, which jitters less.
"""

import sys
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils import store
from utils.batches import feed, one_view, plan_epoch
from utils.captioners import Ensemble, Sighted
from utils.devices import fits, precision, spread
from utils.earlier import take_over
from utils.encoders import open_eyes
from utils.metrics import References, cider_d
from utils.reward import own_captions
from utils.search import write_captions
from utils.settings import CaptionsError
from utils.text import PAD

CLIP = 2.0  # the longest that the gradient may be
RATES = {"tuning": "tuning_rate", "scoring": "score_rate"}  # stages with a rate of their own


def caption_loss(logits, targets, smoothing, weights=1.0):
    """Mean cross-entropy per word, padding left out, with label smoothing. Taught in 03_train.

    `weights`, `(captions, 1)`, says how much each caption counts.
    """
    logits = tf.cast(logits, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    # All words share `smoothing` of the probability: their mean cost less the right word's.
    right = tf.gather(logits, targets, batch_dims=2)
    losses += smoothing * (right - tf.reduce_mean(logits, axis=-1))
    real = tf.cast(targets != PAD, tf.float32)
    return tf.reduce_sum(weights * losses * real) / tf.reduce_sum(real)


def make_optimizer(settings, steps):
    """AdamW with a short warm-up and a cosine to zero, and a moving average of the weights."""
    warm, rate = max(1, steps // 10), settings.learning_rate
    cosine = keras.optimizers.schedules.CosineDecay(
        rate / 10, max(1, steps - warm), warmup_target=rate, warmup_steps=warm
    )
    average = {"use_ema": True, "ema_momentum": settings.averaging}
    return keras.optimizers.AdamW(cosine, weight_decay=1e-3, **average)


def make_step(captioner, optimizer, settings, table=None, lesson=None):
    """The compiled step: gradients of each device's share, their sum, one update everywhere.

    It takes features and words `(photos, captions, time)`, and returns the loss of the batch. With
    a `table`, the grid on the devices, it takes rows of it for features. A `lesson` puts other
    captions in the place of people's, and says how much each counts.
    """
    strategy, weights = captioner.distribute_strategy, captioner.trainable_weights
    # Half a float knows no number below 6e-8: its gradients are kept larger.
    scale = 4096.0 if precision(settings) == "mixed_float16" else 1.0

    def share(table, features, words):
        features = features if table is None else tf.gather(table, features)
        words, worth = lesson(features, words) if lesson else (words, 1.0)
        longest = tf.reduce_max(tf.math.count_nonzero(words, axis=-1))
        sentences = tf.reshape(words[..., :longest], [-1, longest])
        count = tf.cast(tf.math.count_nonzero(sentences[:, 1:]), tf.float32)
        context = tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            logits = captioner([features, sentences[:, :-1]], training=True)
            loss = caption_loss(logits, sentences[:, 1:], settings.smoothing, worth)
            loss *= count / context.all_reduce("SUM", count)
            scaled = loss * scale
        gradients = [tf.convert_to_tensor(part) for part in tape.gradient(scaled, weights)]
        gradients = context.all_reduce("SUM", gradients)
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP * scale)
        again = scale * strategy.num_replicas_in_sync  # the optimizer sums over devices once more
        optimizer.apply([gradient / again for gradient in gradients], weights)
        return loss

    @tf.function
    def step(table, features, words):
        losses = strategy.run(share, args=(table, features, words))
        return strategy.reduce("SUM", losses, axis=None)

    return partial(step, table)


def train(captioner, pairs, grid, validate, settings, resume=None, lesson=None, course=None):
    """Train; returns the history, a list of one dict an epoch, and leaves the best weights.

    `validate(captioner)` gives the score that chooses the best epoch. With `resume`, the name of
    the stage, checkpoints are kept, and a training that was stopped goes on from the last one. A
    `lesson` trains on other captions than people's (see `make_step`), and a `course`, settings
    too, says for how long and how fast, if not as the run's. Taught in 03_train.
    """
    course = course or settings
    strategy, size = captioner.distribute_strategy, batch_size(captioner, pairs, grid, settings)
    plans = [plan_epoch(pairs[1], size, (settings.seed, 1 + n)) for n in range(course.epochs)]
    with strategy.scope():
        optimizer = make_optimizer(course, sum(map(len, plans)))
        optimizer.build(captioner.trainable_weights)
    state = [*captioner.variables, *optimizer.variables]
    known = resume and store.find(resume, settings)
    saved = store.load(resume, settings) if known else {"history": [], "best": None}
    history, best = saved["history"], saved["best"]
    for variable, array in zip(state, saved.get("state", state), strict=True):
        variable.assign(array)
    table = spread(strategy, lambda number: grid) if fits(grid) else None
    step = make_step(captioner, optimizer, course, table, lesson)
    counts = (pairs[1][..., 1:] != PAD).sum(axis=(1, 2))
    with tqdm(desc=settings.captioner, unit=" words", unit_scale=True) as bar:
        bar.total = sum(int(counts[plan].sum()) for plan in plans[len(history) :])
        while not finished(history, course):
            plan, epoch = plans[len(history)], len(history) + 1
            views = one_view(pairs[0], (settings.seed, epoch)), pairs[1]
            inputs = feed(plan, views, grid if table is None else None, strategy)
            inputs = zip(inputs, counts[plan].sum(axis=1), strict=True)
            loss = train_epoch(step, inputs, bar, epoch, resume)
            score, weights = judge(captioner, optimizer, validate)
            if all(score > row["CIDEr-D"] for row in history):
                best = weights
            history.append({"epoch": epoch, "loss": loss, "CIDEr-D": score})
            bar.write(f"epoch {epoch:3}  loss {loss:.3f}  CIDEr-D {score:.3f}", file=sys.stderr)
            if resume and strategy.extended.should_checkpoint:  # a cluster shares the folder
                now = {"state": list(map(np.asarray, state)), "history": history, "best": best}
                store.save(resume, now, settings)
    captioner.set_weights(best)
    return history


def train_all(build, features, frozen, pairs, checked, settings):
    """Train all that the settings ask for; returns the captioner, and the history of each stage.

    `build(settings)` gives a captioner that has learnt nothing, `frozen` is what 01_features made
    for tuning, `checked` what a `validator` compares with: rows, references and tokenizer. Of
    several members the first one's history is returned. Taught in 03_train.
    """
    members, histories = [], {}
    for number in range(settings.members):
        own = replace(settings, seed=settings.seed + number)
        captioner = build(own)
        eyes = take_over(captioner, frozen, number, checked[2], own)
        captioner, stages = train_one(captioner, features, eyes, pairs, checked, own)
        members.append(captioner)
        histories = histories or stages
    return Ensemble(members) if len(members) > 1 else members[0], histories


def train_one(captioner, features, frozen, pairs, checked, settings):
    """Train one captioner in its stages, each from the best of those before it."""
    if settings.tuning_epochs:
        captioner, pairs, grid = give_sight(captioner, frozen, pairs, settings)
    else:
        grid = store.load_grid(features, settings)
    validate, histories, best = validator(grid, *checked, settings), {}, -1.0
    for stage, name in stages_of(settings).items():
        before = captioner.get_weights()
        histories[name] = train_stage(stage, captioner, pairs, grid, validate, settings)
        reached = max(row["CIDEr-D"] for row in histories[name])
        if reached < best:
            captioner.set_weights(before)
        best = max(best, reached)
    return captioner, histories


def stages_of(settings):
    """The stages of a training, in order, with their names for people."""
    first = "further" if settings.start_from else "checkpoint"
    stages = {"sighted" if settings.tuning_epochs else first: settings.captioner}
    stages |= {"tuning": "tuned"} if settings.tuning_epochs else {}
    return stages | ({"scoring": "on the score"} if settings.score_epochs else {})


def train_stage(stage, captioner, pairs, grid, validate, settings):
    """`train` with what is learned in a stage, for how long and how fast."""
    course, lesson = settings, None
    if isinstance(captioner, Sighted):
        captioner.tune(stage == "tuning")
    if stage == "tuning":
        course = {"epochs": settings.tuning_epochs, "learning_rate": settings.tuning_rate}
        course = replace(settings, **course)
    if stage == "scoring":
        course = {"epochs": settings.score_epochs, "learning_rate": settings.score_rate}
        course = replace(settings, smoothing=0.0, **course)
        lesson = own_captions(captioner, settings, pairs[1])
    return train(captioner, pairs, grid, validate, settings, stage, lesson, course)


def give_sight(captioner, frozen, pairs, settings):
    """The captioner with the CNN's last blocks as its eyes, what it learns from, and their grid.

    Each photo has two views then, as it is and mirrored.
    """
    grid, (rows, words) = store.load_grid(frozen, settings), pairs
    with captioner.distribute_strategy.scope():
        sighted = Sighted(open_eyes(frozen), captioner)
    return sighted, (np.stack([rows, rows + len(grid) // 2], axis=1), words), grid


def batch_size(captioner, pairs, grid, settings):
    """Photos in a batch, as many for each device, if all belongs together."""
    (rows, words), devices = pairs, captioner.distribute_strategy.num_replicas_in_sync
    known, channels = captioner.vocabulary, captioner.channels
    if words.max() >= known or rows.max() >= len(grid) or grid.shape[2] != channels:
        raise CaptionsError(
            f"03_train: a captioner of {known} words and {channels} channels can't learn word "
            f"{words.max()} of photo {rows.max()} from features {grid.shape}: build it for these"
        )
    if size := min(settings.batch_photos, len(rows)) // devices * devices:
        return size
    raise CaptionsError(
        f"setting 'batch_photos={settings.batch_photos}': {len(rows)} photos to learn from, and "
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
        rate = RATES.get(stage, "learning_rate")
        files = f"{stage if stage in RATES else '*'}-*-*.pkl"  # checkpoints of another rate
        raise CaptionsError(
            f"03_train: the loss of epoch {epoch} is no number from batch {np.argmin(real) + 1} "
            f"on: lower {rate}, delete {files} in the working folder, run 03_train again"
        )
    return float(np.mean(losses))


def judge(captioner, optimizer, validate):
    """The score of the averaged weights, and these; the captioner keeps its own to go on with."""
    strategy, weights = captioner.distribute_strategy, captioner.get_weights()
    optimizer.finalize_variable_values(captioner.trainable_weights)
    score, average = validate(captioner), captioner.get_weights()
    captioner.set_weights(weights)
    # Processes of a cluster take the mean of their scores: they must decide alike.
    scores = strategy.run(lambda: tf.constant(score, tf.float64))
    return float(strategy.reduce("MEAN", scores, axis=None)), average


def finished(history, settings):
    """Whether all epochs are done, or the best was `patience` epochs ago."""
    scores = [row["CIDEr-D"] for row in history]
    late = len(scores) - 1 - int(np.argmax(scores)) if scores else 0
    return len(history) >= settings.epochs or late >= settings.patience


def validator(grid, rows, references, tokenizer, settings):
    """A function that gives a captioner's CIDEr-D on captions it writes freely, greedily.

    Teacher-forced scores would let the model see the words that people wrote.
    """
    if not len(rows):
        raise CaptionsError("captions.pkl: no photo to validate on: run 02_text on other photos")

    references = References(references)

    def validate(captioner):
        written = write_captions(captioner, grid, settings, 1, progress=False, rows=rows)
        captions = [tokenizer.decode(row) for row in written.words]
        return float(cider_d(captions, references)[0])

    return validate
