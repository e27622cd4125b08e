"""`python -m tests.ablation.confidence_photos RUN`: how many photos a confidence needs.

The confidence of a trained captioner is fitted on few of the validation photos, chosen at random,
and measured on all others, many times for each number of photos.
"""

import numpy as np

from tests.ablation.__main__ import prepare
from tests.ablation.pretrained import ValidationPhotos, decode, parse_options
from tests.page import PAGE, markdown_table, replace_section
from utils.evaluation.calibration import expected_calibration_error, roc_auc
from utils.evaluation.confidence import (
    caption_signals,
    combine,
    feature_distance,
    fit_signals,
    pooled_features,
)
from utils.evaluation.metrics import cider_d

NUM_PHOTOS = (10, 30, 50, 100, 200, 500)
REPETITIONS = 200
COLUMNS = ["photos", "AUC", "calibration error", "cross-entropy", "worse than the constant"]


def main() -> None:
    """Read the command line, measure, and write the table."""
    options = parse_options()
    experiment = prepare(options)
    model, config, _ = experiment.load_or_train(options.run, options.seed)
    photos = ValidationPhotos(experiment, config)
    output = photos.generate(model, no_repetition=True)
    captions = decode(experiment.data.tokenizer(config), output)
    _, scores = cider_d(captions, photos.references)
    fitted = photos.fit(model, output, scores)
    pooled = pooled_features(model, photos.grid, photos.rows)
    signals = caption_signals(model, output, fitted)
    rows = measure(signals, feature_distance(pooled, fitted), fitted["validation_good"])
    replace_section("confidence", markdown_table(COLUMNS, rows, len(COLUMNS) - 1), PAGE)


def measure(signals: np.ndarray, distances: np.ndarray, good: np.ndarray) -> list[list[str]]:
    """A row for each number of photos, with medians over the repetitions.

    Args:
        signals: Of all validation photos, `(photos, 2)`.
        distances: Their feature distances.
        good: Which of their captions are good.
    """
    rows = []
    for count in NUM_PHOTOS:
        results = []
        for repetition in range(REPETITIONS):
            order = np.random.RandomState(repetition).permutation(len(good))
            parts = (order[:count], order[count:])
            results.append(measure_once(signals, distances, good, *parts))
        auc, error, loss, constant_loss = np.array(results).T
        cells = [np.median(auc), np.median(error), np.median(loss)]
        worse = np.mean(loss > constant_loss)
        rows.append([str(count), *(f"{cell:.3f}" for cell in cells), f"{worse:.0%}"])
    return rows


def measure_once(
    signals: np.ndarray,
    distances: np.ndarray,
    good: np.ndarray,
    fit_rows: np.ndarray,
    other_rows: np.ndarray,
) -> tuple[float, float, float, float]:
    """Fit on some photos, measure on the others.

    Returns:
        The AUC, the expected calibration error, the cross-entropy in nats, and the cross-entropy
        of a constant: the fraction of the fitted captions that are good.
    """
    confidence = fit_signals(signals[fit_rows], distances[fit_rows], good[fit_rows])
    values = combine(signals[other_rows], distances[other_rows], confidence)
    rate = (good[fit_rows].sum() + 1) / (len(fit_rows) + 2)  # never 0 or 1
    is_good = good[other_rows]
    return (
        roc_auc(values, is_good),
        expected_calibration_error(values, is_good),
        cross_entropy(values, is_good),
        cross_entropy(np.full(len(is_good), rate), is_good),
    )


def cross_entropy(values: np.ndarray, is_good: np.ndarray) -> float:
    """The mean negative log-probability of what is the case; no probability is below 1 %."""
    probability = np.clip(np.where(is_good, values, 1 - values), 0.01, 1)
    return float(-np.log(probability).mean())


if __name__ == "__main__":
    main()
