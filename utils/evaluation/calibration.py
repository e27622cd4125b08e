"""How well a confidence agrees with the fraction of captions that are good, and separates them.

A confidence is **calibrated** if it is a probability that can be taken at its word: of all captions
with a confidence of 0.8, 80 % are good (Guo et al. 2017, https://arxiv.org/abs/1706.04599). Whether
good captions have a higher confidence than others is another question, which the area under the ROC
curve answers.
"""

from typing import NamedTuple

import numpy as np

# With fewer validation photos a confidence is not used: RESULTS.md, "Confidence", measures why.
MIN_PHOTOS = 100
NORMAL_95 = 1.96  # standard errors to each side of the mean in a 95 % interval


class ReliabilityBin(NamedTuple):
    """The captions whose confidence is in one bin.

    Attributes:
        size: How many there are.
        confidence: Their mean confidence.
        fraction_good: The fraction of them that is good.
        low: The lower end of the 95 % interval of that fraction.
        high: The upper end.
    """

    size: int
    confidence: float
    fraction_good: float
    low: float
    high: float


def reliability_bins(
    confidence: np.ndarray, good: np.ndarray, bins: int = 10
) -> list[ReliabilityBin]:
    """Group captions by confidence, in bins of equal width from 0 to 1.

    Args:
        confidence: The confidence of each caption, from 0 to 1.
        good: Whether each caption is good.
        bins: The number of bins. A bin includes its lower edge; the last one also includes 1.

    Returns:
        The bins that have captions, by increasing confidence.
    """
    confidence = np.asarray(confidence, float)
    good = np.asarray(good, bool)
    inner_edges = np.arange(1, bins) / bins
    bin_of_caption = np.digitize(confidence, inner_edges)
    groups = []
    for number in range(bins):
        in_bin = bin_of_caption == number
        count = int(in_bin.sum())
        if not count:
            continue
        num_good = int(good[in_bin].sum())
        low, high = wilson_interval(num_good, count)
        mean_confidence = float(confidence[in_bin].mean())
        groups.append(ReliabilityBin(count, mean_confidence, num_good / count, low, high))
    return groups


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a probability, from how often something happened in `count` trials.

    It is Wilson's: it stays within 0 and 1, and is not empty where all trials agree.
    """
    fraction = successes / count
    z_squared = NORMAL_95**2 / count
    center = fraction + z_squared / 2
    margin = np.sqrt(z_squared * fraction * (1 - fraction) + z_squared**2 / 4)
    low = float(center - margin) / (1 + z_squared)
    high = float(center + margin) / (1 + z_squared)
    # Rounding must not move an end beyond the fraction, or beyond 0 and 1.
    return min(fraction, max(0.0, low)), max(fraction, min(1.0, high))


def expected_calibration_error(confidence: np.ndarray, good: np.ndarray, bins: int = 10) -> float:
    """The mean difference between confidence and fraction of good captions, over all captions.

    Args:
        confidence: As in `reliability_bins`.
        good: As there.
        bins: As there.
    """
    groups = reliability_bins(confidence, good, bins)
    total = sum(group.size for group in groups)
    error = 0.0
    for group in groups:
        error += group.size / total * abs(group.confidence - group.fraction_good)
    return error


def roc_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The area under the ROC curve, from 0 to 1; 0.5 is that of random scores.

    It is the probability that a random positive example has a higher score than a random negative
    one, where a tie counts as a half. It is computed from the ranks of all scores, which takes far
    less time than all pairs.

    Args:
        scores: The score of each example.
        labels: Whether each example is positive.

    Returns:
        The area, or NaN if all labels are equal.
    """
    labels = np.asarray(labels, bool)
    num_positive = int(labels.sum())
    num_negative = len(labels) - num_positive
    if not num_positive or not num_negative:
        return float("nan")
    _, value_of_example, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last_ranks = np.cumsum(counts)
    mean_ranks = last_ranks - (counts - 1) / 2  # equal scores share the mean of their ranks
    rank_sum = mean_ranks[value_of_example][labels].sum()
    smallest_sum = num_positive * (num_positive + 1) / 2
    return float((rank_sum - smallest_sum) / (num_positive * num_negative))
