"""The training loop: batches by photo, one compiled step, the best epoch by what it writes.

A photo's features are read once for all its captions. After every epoch the captioner writes
captions for the validation photos, and the epoch with the best CIDEr-D of these is kept: the loss
keeps falling long after the captions have stopped getting better.
"""

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.metrics import cider_d
from utils.search import write_captions
from utils.settings import CaptionsError
from utils.text import PAD


def training_pairs(names, captions, positions, tokenizer):
    """What is learned from: `(rows, words)`, a grid row and its captions as numbers.

    `rows` is `(photos,)`; `words` is `(photos, captions, time)`, as many captions for each photo
    as the photo with the most has, where the others repeat theirs.
    """
    if missing := [name for name in names if name not in positions]:
        raise CaptionsError(
            f"features.pkl: lacks {len(missing)} of {len(names)} photos of captions.pkl, "
            f"e.g. {missing[0]}: run 01_features and 02_text again on the same photos"
        )
    most = max(len(captions[name]) for name in names)
    words = [
        tokenizer.encode([captions[name][turn % len(captions[name])] for turn in range(most)])
        for name in names
    ]
    return np.array([positions[name] for name in names]), np.stack(words)


def batches(rows, words, grid, size, seed):
    """Shuffled batches of `(features, words)`, padded no longer than their longest caption.

    A batch has `size` photos; what is left over at the end of an epoch is left out of it, and
    another part each time. Taught in 03_train.
    """
    order = np.random.RandomState(seed).permutation(len(rows))
    size = min(size, len(rows))
    for start in range(0, len(rows) - size + 1, size):
        chosen = np.sort(order[start : start + size])  # sorted: a memory map is read forwards
        longest = int((words[chosen] != PAD).sum(axis=-1).max())
        longest += -longest % 4  # few lengths, so that few graphs are compiled
        yield np.asarray(grid[rows[chosen]]), words[chosen][..., :longest]


def caption_loss(logits, targets, smoothing):
    """Mean cross-entropy per word, padding left out, with label smoothing. Taught in 03_train."""
    log_probabilities = tf.nn.log_softmax(tf.cast(logits, tf.float32))
    right = tf.gather(log_probabilities, targets, batch_dims=2)
    others = tf.reduce_mean(log_probabilities, axis=-1)
    losses = -(1 - smoothing) * right - smoothing * others
    real = tf.cast(targets != PAD, tf.float32)
    return tf.reduce_sum(losses * real) / tf.reduce_sum(real)


def make_step(captioner, optimizer, settings):
    """The compiled training step: features `(photos, ...)` and words `(photos, captions, time)`."""

    @tf.function(reduce_retracing=True)
    def step(features, words):
        sentences = tf.reshape(words, [-1, tf.shape(words)[-1]])
        features = tf.repeat(features, words.shape[1], axis=0)
        with tf.GradientTape() as tape:
            logits = captioner([features, sentences[:, :-1]], training=True)
            loss = caption_loss(logits, sentences[:, 1:], settings.smoothing)
        weights = captioner.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return step


def make_optimizer(settings, steps):
    """AdamW with a short warm-up, a cosine to zero, and clipped gradients."""
    warm = max(1, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 10,
        max(1, steps - warm),
        warmup_target=settings.learning_rate,
        warmup_steps=warm,
    )
    return keras.optimizers.AdamW(rate, weight_decay=1e-3, global_clipnorm=2.0)


def train(captioner, pairs, grid, validate, settings):
    """Train; returns the history, a list of one dict an epoch, and leaves the best weights.

    `validate(captioner)` gives the score that chooses the best epoch.
    """
    rows, words = pairs
    size = min(settings.batch_photos, len(rows))
    total = settings.epochs * (len(rows) // size)
    step = make_step(captioner, make_optimizer(settings, total), settings)
    history, best = [], None
    with tqdm(total=total, desc=settings.captioner, unit=" batches") as bar:
        for epoch in range(1, settings.epochs + 1):
            shuffled = batches(rows, words, grid, size, seed=(settings.seed, epoch))
            loss = train_epoch(step, shuffled, epoch, bar)
            score = validate(captioner)
            history.append({"epoch": epoch, "loss": loss, "CIDEr-D": score})
            bar.set_postfix_str(f"epoch {epoch}, loss {loss:.2f}, CIDEr-D {score:.2f}")
            if best is None or score > best[0]:
                best = score, captioner.get_weights()
    captioner.set_weights(best[1])
    return history


def train_epoch(step, shuffled, epoch, bar):
    """The mean loss of one pass over all batches; one that is no number ends the training."""
    losses = []
    for features, words in shuffled:
        losses.append(step(features, words))
        bar.update()
    loss = float(np.mean(losses))
    if not np.isfinite(loss):
        raise CaptionsError(f"03_train: the loss of epoch {epoch} is {loss}: lower learning_rate")
    return loss


def validator(grid, rows, references, tokenizer, settings):
    """A function that gives a captioner's CIDEr-D on captions it writes freely, greedily.

    Teacher-forced scores would let the model see the words that people wrote.
    """

    def validate(captioner):
        written = write_captions(captioner, grid[rows], settings, beam_width=1, progress=False)
        captions = [tokenizer.decode(row) for row in written.words]
        return float(cider_d(captions, references)[0])

    return validate
