"""How likely it is that a caption is good, computed without any reference.

Two signals need no reference:

- the **log-probability** per token, given the photo;
- the **pointwise mutual information** (PMI) per token: how much more likely the caption is for this
  photo than for the mean of the training photos. "a man in a shirt" is likely for any photo.

Logistic regression turns them into a probability. It is fitted on validation photos, where the
captions are scored: a caption is good if its CIDEr-D is at least the setting `good_score`.

All validation photos are like the training photos. Of a photo unlike them the captioner knows
nothing, however probable its caption is. Therefore the probability is multiplied by the photo's
**familiarity**: 1 for a photo whose features are as near to those of training photos as 95 % of the
validation photos are, and less for one that is farther away.

A regression that was fitted on few photos, or where all captions are good, says nothing about a new
photo, and is not used: `find_problem`.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from utils.data.tokenizer import BOS_ID, PAD_ID
from utils.decoding.decoding_loop import GenerationOutput
from utils.devices import compile_graph
from utils.evaluation.calibration import MIN_PHOTOS
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner

NEIGHBORS = 5  # training photos whose mean distance counts
REFERENCE_PHOTOS = 1000  # training photos among which they are found
FAMILIAR_FRACTION = 0.95  # of the validation photos are entirely familiar
BATCH_SIZE = 32
TIME_STEP = 5  # captions are padded to a multiple of this length
L2_PENALTY = 1.0
FOLDS = 10  # of the cross-validation
MAX_ITERATIONS = 50  # of Newton's method, which needs about five

# From which confidence on a caption is stated as it is, and from which on it is stated at all.
ASSERT_FROM = 0.5
HEDGE_FROM = 0.2


def fit_confidence(
    captioner: Any,
    grid: np.ndarray,
    train_rows: np.ndarray,
    validation_rows: np.ndarray,
    output: GenerationOutput,
    good: np.ndarray,
) -> dict[str, Any]:
    """Fit the confidence of a captioner.

    Args:
        captioner: The model.
        grid: Features that it takes, `(rows, cells, channels)`.
        train_rows: The rows of the training photos.
        validation_rows: The rows of the validation photos.
        output: The captions generated for the validation photos.
        good: Which of them are good, `(photos,)`: their CIDEr-D is at least `good_score`.

    Returns:
        The data of confidence.pkl, which `caption_confidence` takes, without `good_score`. What
        begins with `validation_` is for notebook 5: each confidence comes from a regression
        that was fitted without its photo (cross-validation). `problem` says why the confidence
        must not be used, or is None.
    """
    rng = np.random.RandomState(0)
    reference_rows = np.sort(rng.permutation(train_rows)[:REFERENCE_PHOTOS])
    confidence: dict[str, Any] = {
        "mean_input": mean_rows(grid, train_rows),
        "reference_features": pooled_features(captioner, grid, reference_rows),
    }
    pooled = pooled_features(captioner, grid, validation_rows)
    distances = feature_distance(pooled, confidence)
    signals = caption_signals(captioner, output, confidence)
    confidence.update(fit_signals(signals, distances, good))
    confidence["problem"] = find_problem(confidence["validation_good"])
    confidence["validation_signals"] = signals
    confidence["validation_confidence"] = cross_validate(signals, distances, confidence)
    return confidence


def fit_signals(signals: np.ndarray, distances: np.ndarray, good: np.ndarray) -> dict[str, Any]:
    """Fit the regression and the familiarity.

    Args:
        signals: Of the validation photos, `(photos, 2)`.
        distances: Their feature distances, `(photos,)`.
        good: Which of their captions are good, `(photos,)`.

    Returns:
        What `combine` takes.
    """
    good = np.asarray(good, bool)
    fitted: dict[str, Any] = {
        "signal_means": signals.mean(axis=0),
        "signal_stds": signals.std(axis=0) + 1e-6,
        "validation_distances": distances,
        "validation_good": good,
    }
    fitted["coefficients"] = fit_logistic_regression(standardize(signals, fitted), good)
    return fitted


def find_problem(good: np.ndarray) -> str | None:
    """Why a confidence that was fitted on captions says nothing about others; None if it does.

    Args:
        good: Which of the validation captions are good, `(photos,)`.
    """
    if len(good) < MIN_PHOTOS:
        return f"fitted on {len(good):,} validation photos, at least {MIN_PHOTOS} are needed"
    if good.all() or not good.any():
        which = "all" if good.all() else "none"
        return f"{which} of the {len(good):,} validation captions are good, so nothing is learned"
    return None


def caption_confidence(
    captioner: Any,
    confidence: dict[str, Any],
    grid: np.ndarray,
    output: GenerationOutput,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """The confidence of generated captions: the estimated probability that each one is good.

    Args:
        captioner: The model.
        confidence: What `fit_confidence` has returned for it.
        grid: Features, `(rows, cells, channels)`.
        output: The captions that were generated for these rows.
        rows: The rows of the photos in the grid; all by default.

    Returns:
        `(photos,)`, from 0 to 1.
    """
    rows = np.arange(len(grid)) if rows is None else np.asarray(rows, int)
    if len(rows) == 0:
        return np.zeros(0)
    pooled = pooled_features(captioner, grid, rows)
    signals = caption_signals(captioner, output, confidence)
    return combine(signals, feature_distance(pooled, confidence), confidence)


def describe_confidence(confidence: float | None) -> str:
    """What to do with a caption: `assert`, `hedge` or `none`; without a confidence, `hedge`."""
    if confidence is None:
        return "hedge"
    if confidence >= ASSERT_FROM:
        return "assert"
    return "hedge" if confidence >= HEDGE_FROM else "none"


# === Signals ===


def caption_signals(
    captioner: Any, output: GenerationOutput, confidence: dict[str, Any]
) -> np.ndarray:
    """Log-probability and PMI per token, `(photos, 2)`."""
    lengths = np.maximum(1, (output.token_ids != PAD_ID).sum(axis=1))
    mean_photo = confidence["mean_input"].astype(np.float32)
    unconditional = log_probs_for_photo(captioner, mean_photo, output.token_ids)
    pmi = output.log_probs - unconditional
    return np.stack([output.log_probs / lengths, pmi / lengths], axis=1)


def log_probs_for_photo(captioner: Any, photo: np.ndarray, token_ids: np.ndarray) -> np.ndarray:
    """The log-probability of each caption for one photo.

    Args:
        captioner: The model.
        photo: Its features, `(cells, channels)`.
        token_ids: Captions without BOS, `(captions, time)`.

    Returns:
        `(captions,)`.
    """
    score = compiled_scorer(captioner)
    # A few shapes only, since the graph is traced again for each one.
    longest = int((token_ids != PAD_ID).sum(axis=1).max(initial=1))
    time = min(token_ids.shape[1], math.ceil(longest / TIME_STEP) * TIME_STEP)
    size = BATCH_SIZE if len(token_ids) > 1 else 1
    log_probs = np.zeros(len(token_ids), np.float32)
    for start in range(0, len(token_ids), size):
        batch = token_ids[start : start + size, :time]
        padded = np.pad(batch, [(0, size - len(batch)), (0, 0)])
        log_probs[start : start + len(batch)] = score(photo[None], padded).numpy()[: len(batch)]
    return log_probs


@lru_cache(maxsize=2)
def compiled_scorer(captioner: Any) -> Callable:
    """A graph from features `(1, cells, channels)` and captions to their log-probabilities."""

    def score(features: tf.Tensor, token_ids: tf.Tensor) -> tf.Tensor:
        inputs = tf.pad(token_ids[:, :-1], [[0, 0], [1, 0]], constant_values=BOS_ID)
        logits = tf.cast(captioner([features, inputs]), tf.float32)
        target_logits = tf.gather(logits, token_ids, batch_dims=2)
        target_log_probs = target_logits - tf.reduce_logsumexp(logits, axis=-1)
        return tf.reduce_sum(tf.where(token_ids == PAD_ID, 0.0, target_log_probs), axis=1)

    return compile_graph(score)


def pooled_features(captioner: Any, grid: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The encoder's output, averaged over the cells, with norm 1, `(rows, channels)`."""
    pool = compiled_pooling(captioner)
    pooled = []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = np.asarray(grid[rows[start : start + BATCH_SIZE]])
        pooled.append(pool(batch).numpy())
    features = np.concatenate(pooled)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(norms, 1e-6)


@lru_cache(maxsize=2)
def compiled_pooling(captioner: Any) -> Callable:
    """A graph from what a captioner takes to the mean of the encoder's output over the cells."""
    member = captioner.members[0] if isinstance(captioner, Ensemble) else captioner
    top_blocks = member.top_blocks if isinstance(member, EndToEndCaptioner) else None

    def pool(features: tf.Tensor) -> tf.Tensor:
        features = tf.cast(features, tf.float32)
        if top_blocks is not None:
            features = top_blocks(features, training=False)
        return tf.reduce_mean(tf.cast(features, tf.float32), axis=1)

    return compile_graph(pool, reduce_retracing=True)


def mean_rows(grid: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The mean of some rows of a memory-mapped grid, in float32."""
    total = np.zeros(grid.shape[1:], np.float64)
    for start in range(0, len(rows), BATCH_SIZE):
        batch = np.asarray(grid[rows[start : start + BATCH_SIZE]], np.float32)
        total += batch.sum(axis=0)
    return (total / len(rows)).astype(np.float32)


def feature_distance(pooled: np.ndarray, confidence: dict[str, Any]) -> np.ndarray:
    """The mean cosine distance of photos to their nearest training photos, `(photos,)`.

    Args:
        pooled: What `pooled_features` returns for the photos.
        confidence: Has `reference_features`, those of training photos.
    """
    similarities = pooled @ np.asarray(confidence["reference_features"], np.float32).T
    neighbors = min(NEIGHBORS, similarities.shape[1])
    nearest = -np.sort(-similarities, axis=1)[:, :neighbors]
    return 1 - nearest.mean(axis=1)


# === From signals to a probability ===


def combine(signals: np.ndarray, distances: np.ndarray, confidence: dict[str, Any]) -> np.ndarray:
    """The confidence from the signals of captions and the feature distances of their photos."""
    bias, *weights = confidence["coefficients"]
    logits = bias + standardize(signals, confidence) @ np.array(weights)
    probability = 1 / (1 + np.exp(-logits))
    return probability * familiarity(distances, confidence["validation_distances"])


def cross_validate(
    signals: np.ndarray, distances: np.ndarray, confidence: dict[str, Any]
) -> np.ndarray:
    """The confidence of each validation photo, fitted on the photos of the other folds.

    Args:
        signals: Of the validation photos, `(photos, 2)`.
        distances: Their feature distances.
        confidence: Has the means of the signals, and which captions are good.
    """
    values = np.zeros(len(signals))
    fold_of_photo = np.arange(len(signals)) % FOLDS
    for fold in np.unique(fold_of_photo):
        held_out = fold_of_photo == fold
        if held_out.all():  # a single photo
            return combine(signals, distances, confidence)
        coefficients = fit_logistic_regression(
            standardize(signals[~held_out], confidence), confidence["validation_good"][~held_out]
        )
        fitted = {**confidence, "coefficients": coefficients}
        values[held_out] = combine(signals[held_out], distances[held_out], fitted)
    return values


def standardize(signals: np.ndarray, confidence: dict[str, Any]) -> np.ndarray:
    """The signals with mean 0 and standard deviation 1 on the validation photos.

    A value far outside is clipped: a probability must not be extrapolated from the caption of an
    unusual photo.
    """
    standardized = (signals - confidence["signal_means"]) / confidence["signal_stds"]
    return np.clip(standardized, -3, 3)


def familiarity(distances: np.ndarray, validation_distances: np.ndarray) -> np.ndarray:
    """How like the training photos each photo is, from 0 to 1.

    It is 1 up to the distance `near` that most validation photos do not exceed. The few that do
    exceed it by `mean_excess` on average. If the excess is exponentially distributed, the fraction
    of them that is farther away than a given photo is `exp(-excess / mean_excess)`: this is the
    photo's familiarity.

    Args:
        distances: `feature_distance` of the photos.
        validation_distances: Those of the validation photos.
    """
    near = np.quantile(validation_distances, FAMILIAR_FRACTION)
    farthest = validation_distances[validation_distances >= near]
    mean_excess = max(float(np.mean(farthest - near)), 1e-6)
    excess = np.maximum(0, distances - near)
    return np.exp(-excess / mean_excess)


def fit_logistic_regression(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Logistic regression with an L2 penalty on the weights, by Newton's method.

    Args:
        features: `(samples, features)`.
        labels: `(samples,)`, true or false. If all are the same, the bias is that of a sample with
            one more of each.

    Returns:
        The bias, then one weight for each feature.
    """
    inputs = np.column_stack([np.ones(len(features)), features])
    penalty = np.diag([1e-6] + [L2_PENALTY] * features.shape[1])
    positives = labels.sum()
    if positives in (0, len(labels)):
        rate = (positives + 1) / (len(labels) + 2)
        return np.array([np.log(rate / (1 - rate)), *np.zeros(features.shape[1])])
    coefficients = np.zeros(inputs.shape[1])
    for _ in range(MAX_ITERATIONS):
        predicted = 1 / (1 + np.exp(-inputs @ coefficients))
        gradient = inputs.T @ (predicted - labels) + penalty @ coefficients
        weights = predicted * (1 - predicted)
        hessian = inputs.T @ (inputs * weights[:, None]) + penalty
        step = np.linalg.solve(hessian, gradient)
        coefficients -= step
        if np.abs(step).max() < 1e-9:
            break
    return coefficients
