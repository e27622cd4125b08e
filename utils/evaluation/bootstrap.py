"""How certain a score is, and whether a difference is significant: the bootstrap over photos."""

from collections.abc import Sequence

import numpy as np

from utils.evaluation.metrics import bleu_counts, bleu_from_counts, cider_d, rouge_l
from utils.evaluation.ngrams import Caption, References


def bootstrap_scores(
    candidates: Sequence[Caption],
    references: Sequence[Sequence[Caption]],
    samples: int = 1000,
    seed: int = 1,
) -> dict[str, np.ndarray]:
    """Scores of the corpus on bootstrap samples of the photos.

    Photos are drawn with replacement, the same ones for the same seed, so that two captioners are
    compared on the same samples.

    Returns:
        The scores by metric, each `(samples,)`.
    """
    prepared = References(references)
    photos = len(references)
    rng = np.random.RandomState(seed)
    # How often each photo is in each sample, `(samples, photos)`.
    weights = rng.multinomial(photos, np.full(photos, 1 / photos), samples)
    bleu_samples = bleu_from_counts(weights @ bleu_counts(candidates, prepared))
    scores = {}
    for order, values in enumerate(bleu_samples.T, 1):
        scores[f"BLEU-{order}"] = values
    _, rouge_scores = rouge_l(candidates, prepared)
    scores["ROUGE-L"] = weights @ rouge_scores / photos
    _, cider_scores = cider_d(candidates, prepared)
    scores["CIDEr-D"] = weights @ cider_scores / photos
    return scores


def paired_bootstrap(
    first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray
) -> tuple[float, float, float]:
    """Compare two captioners by their scores on the same bootstrap samples.

    Returns:
        The 95 % interval of the difference, first minus second, and the two-sided p-value: twice
        the fraction of samples whose difference is zero or has the opposite sign. One is added to
        both counts, so that p is never 0.
    """
    differences = np.asarray(first) - np.asarray(second)
    low, high = np.percentile(differences, [2.5, 97.5])
    opposite = min((differences <= 0).sum(), (differences >= 0).sum())
    p_value = min(1.0, 2 * (1 + opposite) / (1 + len(differences)))
    return low, high, p_value
