"""Charts of numbers: vocabulary, caption lengths, training histories and scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from utils.evaluation.calibration import expected_calibration_error, reliability_bins
from utils.plotting.style import BLUE, GRAY, INK, ORANGE, PAGE_WIDTH
from utils.training.checkpoint import best_epoch


def plot_zipf(
    shares: Mapping[str, Mapping[int, float]], zipf: float, labels: Mapping[int, str]
) -> Any:
    """The frequency of tokens by rank, on logarithmic axes, beside Zipf's law.

    Args:
        shares: For each corpus the percentage of all tokens by the rank of the token.
        zipf: The percentage that Zipf's law gives rank 1; it gives rank r this divided by r.
        labels: Tokens of the first corpus by their rank, which are written beside their points.
    """
    figure, axis = plt.subplots()
    last_rank = 1
    for name, by_rank in shares.items():
        marker = "o" if len(by_rank) < 50 else ""
        axis.loglog(list(by_rank), list(by_rank.values()), marker=marker, markersize=4, label=name)
        last_rank = max(last_rank, *by_rank)
    ranks = np.array([1, last_rank])
    axis.loglog(ranks, zipf / ranks, color=GRAY, linestyle="--", label="Zipf's law")
    first = next(iter(shares.values()))
    for rank, token in labels.items():
        axis.plot(rank, first[rank], "o", color=BLUE, markersize=5)
        position = {"xytext": (5, 5), "textcoords": "offset points"}
        axis.annotate(token, (rank, first[rank]), **position)
    axis.set(title="Few tokens are frequent", xlabel="rank of the token", ylabel="% of all tokens")
    axis.legend()
    return figure


def plot_unknown(rates: Mapping[str, Mapping[int, float]], min_count: int) -> Any:
    """Percentage of unknown tokens by the count that a token needs to be in the vocabulary.

    Args:
        rates: For each corpus the percentage by the minimum count.
        min_count: The setting in use, which a dashed line marks.
    """
    figure, axis = plt.subplots()
    for name, by_min_count in rates.items():
        axis.plot(list(by_min_count), list(by_min_count.values()), "o-", markersize=4, label=name)
    axis.axvline(min_count, color=GRAY, linestyle="--", label=f"min_count={min_count}")
    axis.set(
        xscale="log",
        title="A higher cutoff makes more tokens unknown",
        xlabel="min_count",
        ylabel="% of validation tokens",
    )
    ticks = sorted({cutoff for by_min_count in rates.values() for cutoff in by_min_count})
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.legend()
    return figure


def plot_lengths(lengths: Sequence[int] | np.ndarray, max_length: int) -> Any:
    """A histogram of caption lengths; a dashed line marks where captions are truncated."""
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 2.4))
    longest = max(max(lengths), max_length)
    axis.hist(lengths, bins=np.arange(0.5, longest + 1.5), color=BLUE)
    axis.axvline(max_length + 0.5, color=GRAY, linestyle="--")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(title="Tokens per caption", xlabel="tokens", ylabel="captions")
    return figure


def plot_histories(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Any:
    """Loss and CIDEr-D by epoch; a ring marks the epoch that is kept.

    Lines are the training loss; dots are the loss of the validation captions, where it is known.
    """
    figure, (loss_axis, score_axis) = plt.subplots(2, 1, figsize=(PAGE_WIDTH, 5))
    for name, history in histories.items():
        epochs = [row["epoch"] for row in history]
        losses = [row["loss"] for row in history]
        scores = [row["CIDEr-D"] for row in history]
        best = best_epoch(history) - 1
        (line,) = loss_axis.plot(epochs, losses, label=name)
        if all("val_loss" in row for row in history):
            val_losses = [row["val_loss"] for row in history]
            loss_axis.plot(epochs, val_losses, ".", color=line.get_color())
        score_axis.plot(epochs, scores, label=name)
        score_axis.plot(epochs[best], scores[best], "o", ms=10, mfc="none", color=INK)
    loss_axis.set(title="Loss: training (line), validation (dots)", xlabel="epoch")
    score_axis.set(title="Validation CIDEr-D (greedy search)", xlabel="epoch")
    loss_axis.legend()
    return figure


def plot_epoch_choice(history: Sequence[Mapping[str, float]]) -> Any:
    """Validation loss above CIDEr-D by epoch; the best epoch of each is marked by a dashed line.

    Args:
        history: A row for each epoch, with "epoch", "val_loss" and "CIDEr-D".
    """
    figure, axes = plt.subplots(2, 1, figsize=(PAGE_WIDTH, 5), sharex=True)
    epochs = [row["epoch"] for row in history]
    choices = {}
    for name in ("val_loss", "CIDEr-D"):
        values = np.array([row[name] for row in history])
        costs = values if name == "val_loss" else -values
        last_best = len(values) - 1 - int(np.argmin(costs[::-1]))  # the last of several
        choices[name] = (values, epochs[last_best])
    titles = {
        "val_loss": "Validation cross-entropy: lowest in epoch {}",
        "CIDEr-D": "Validation CIDEr-D: highest in epoch {}",
    }
    for axis, (name, (values, best)), color in zip(
        axes, choices.items(), (ORANGE, BLUE), strict=True
    ):
        axis.plot(epochs, values, "o-", color=color, ms=4)
        axis.axvline(best, color=color, linestyle="--")
        axis.plot(best, values[epochs.index(best)], "o", ms=11, mfc="none", color=INK)
        axis.set(title=titles[name].format(int(best)))
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[1].set_xlabel("epoch")
    return figure


def plot_bars(
    values: Mapping[str, float],
    title: str,
    intervals: Mapping[str, Sequence[float]] | None = None,
    highlight: str = "captioner",
) -> Any:
    """A horizontal bar per name with its value, and its interval where there is one."""
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 0.45 * len(values) + 0.9))
    names = list(values)[::-1]
    intervals = intervals or {}
    other_color = GRAY if highlight in values else BLUE
    colors = [BLUE if name == highlight else other_color for name in names]
    axis.barh(names, [values[name] for name in names], color=colors)
    for row, name in enumerate(names):
        low, high = intervals.get(name, (values[name], values[name]))
        axis.plot([low, high], [row, row], color=INK, linewidth=2)
        axis.text(high, row, f"  {values[name]:.2f}", va="center")
    axis.set(title=title)
    axis.margins(x=0.12)
    return figure


def plot_differences(differences: Mapping[str, np.ndarray], xlabel: str) -> Any:
    """Histograms of differences between two systems; a dashed line marks no difference.

    Args:
        differences: For each way to draw samples, the differences, `(samples,)`.
        xlabel: What the differences are.
    """
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 2.8))
    edges = np.histogram_bin_edges(np.concatenate(list(differences.values())), 50)
    for (name, values), color in zip(differences.items(), (GRAY, BLUE), strict=True):
        axis.hist(values, edges, color=color, alpha=0.7, label=name)
    axis.axvline(0, color=INK, linestyle="--")
    axis.set(xlabel=xlabel, ylabel="samples")
    axis.legend()
    return figure


def plot_reliability(confidence: np.ndarray, good: np.ndarray, bins: int = 10) -> Any:
    """A reliability diagram above the histogram of the confidences.

    A dot per bin: its mean confidence, and the fraction of good captions with its 95 % interval. On
    the dashed diagonal the two are equal.

    Args:
        confidence: The confidence of each caption, from 0 to 1.
        good: Whether each caption is good.
        bins: The number of bins of equal width.
    """
    confidence = np.asarray(confidence, float)
    good = np.asarray(good, bool)
    figure, (diagram, histogram) = plt.subplots(
        2, 1, figsize=(PAGE_WIDTH, 5), sharex=True, height_ratios=(3, 1)
    )
    diagram.plot([0, 1], [0, 1], color=GRAY, linestyle="--")
    for group in reliability_bins(confidence, good, bins):
        interval = [group.low, group.high]
        diagram.plot([group.confidence] * 2, interval, color=INK, linewidth=1.5)
        diagram.plot(group.confidence, group.fraction_good, "o", color=BLUE, ms=6, zorder=3)
    error = expected_calibration_error(confidence, good, bins)
    diagram.set(
        title=f"{len(confidence):,} captions, calibration error {error:.3f}",
        ylabel="fraction of good captions",
        ylim=(-0.03, 1.03),
    )
    edges = np.arange(bins + 1) / bins
    groups = [confidence[good], confidence[~good]]
    counts, _, _ = histogram.hist(
        groups, edges, stacked=True, color=[BLUE, GRAY], label=["good", "not good"], rwidth=0.92
    )
    for left, count in zip(edges[:-1], counts[-1], strict=True):
        if count:
            histogram.text(left + 0.5 / bins, count, f"{count:.0f}", ha="center", va="bottom")
    histogram.set(xlabel="confidence", ylabel="captions", xlim=(-0.03, 1.03))
    histogram.margins(y=0.25)
    histogram.legend(loc="best")
    return figure
