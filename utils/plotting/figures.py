"""Everything that is drawn: one style for all five notebooks, and the gallery page.

Matplotlib and HTML only, no TensorFlow. Colors are told apart by the color-blind as well, and
the white ground of each figure keeps it legible in a dark JupyterLab.
"""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from utils.data.images import open_image
from utils.errors import os_errors_as_caption_errors

BLUE, INK, GRAY = "#0072b2", "#22313f", "#8a94a0"
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # behind words that cross lines

plt.style.use(Path(__file__).with_name("notebooks.mplstyle"))


@os_errors_as_caption_errors()
def load_thumbnail(path, side=224):
    """A photo as people see it, `(high, wide, 3)` in 0..255, at most `side` pixels each way."""
    photo = open_image(path, side)
    photo.thumbnail((side, side))
    return np.asarray(photo)


def wrap_text(text, width=34):
    """Text in lines of at most `width` letters."""
    return "\n".join(textwrap.wrap(text, width)) or " "


def make_panels(count, columns, size=2.4, extra=0.0):
    """A figure with `count` axes in a grid, ticks off, unused ones hidden."""
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns, (size + extra) * rows), squeeze=False
    )
    for number, axis in enumerate(axes.flat):
        axis.set_axis_off() if number >= count else axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure, list(axes.flat[:count])


def show_photos(paths, titles=None, columns=4, size=2.1):
    """Photos in a grid, each with its title below. Taught in 01_features."""
    titles = titles or [""] * len(paths)
    extra = 0.25 * max(len(wrap_text(title).splitlines()) for title in titles) if any(titles) else 0
    figure, axes = make_panels(len(paths), columns, size, extra)
    for axis, path, title in zip(axes, paths, titles, strict=True):
        axis.imshow(load_thumbnail(path))
        axis.set_xlabel(wrap_text(title), fontsize=9)
    return figure


def show_feature_maps(pixels, maps, titles):
    """A picture, and some channels of its feature grid beside it: bright where they answer."""
    figure, axes = make_panels(len(maps) + 1, len(maps) + 1, size=2.0)
    axes[0].imshow(pixels)
    axes[0].set_title("the picture")
    for axis, values, title in zip(axes[1:], maps, titles, strict=True):
        axis.imshow(values, cmap="cividis")
        axis.set_title(title)
    return figure


def show_grid_cells(pixels, side):
    """A picture with the grid of cells that the CNN describes."""
    figure, (axis,) = make_panels(1, 1, size=3.2)
    axis.imshow(pixels)
    for line in np.arange(1, side) * pixels.shape[0] / side:
        axis.axhline(line, color="white", linewidth=0.8)
        axis.axvline(line, color="white", linewidth=0.8)
    axis.set_title(f"{side} by {side} cells")
    return figure


def plot_vocabulary(counts, min_count):
    """How often each word occurs, by rank, and what the cut-off keeps. Taught in 02_text."""
    ranked = np.sort(np.array(list(counts.values())))[::-1]
    coverage = np.cumsum(ranked) / ranked.sum()
    kept = int((ranked >= min_count).sum())
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
    left.loglog(np.arange(1, len(ranked) + 1), ranked)
    left.axvline(kept, color=GRAY, linestyle="--")
    left.set(title="Few words are frequent", xlabel="rank of the word", ylabel="times seen")
    right.plot(np.arange(1, len(ranked) + 1), 100 * coverage)
    right.axvline(kept, color=GRAY, linestyle="--")
    right.set(title="Few words cover most text", xlabel="words kept", ylabel="% of all words")
    return figure


def plot_lengths(lengths, max_length):
    """How long captions are, and where they are cut."""
    figure, axis = plt.subplots(figsize=(6, 2.4))
    axis.hist(lengths, bins=np.arange(0.5, max(max(lengths), max_length) + 1.5), color=BLUE)
    axis.axvline(max_length + 0.5, color=GRAY, linestyle="--")
    axis.set(title="Words in a caption", xlabel="words", ylabel="captions")
    return figure


def plot_histories(histories):
    """Loss and validation score by epoch for each captioner; a ring marks the epoch kept."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
    for name, history in histories.items():
        epochs, scores = ([row[key] for row in history] for key in ("epoch", "CIDEr-D"))
        left.plot(epochs, [row["loss"] for row in history], label=name)
        right.plot(epochs, scores, label=name)
        best = int(np.argmax(scores))
        right.plot(epochs[best], scores[best], "o", ms=10, mfc="none", color=INK)
    left.set(title="Training loss", xlabel="epoch")
    right.set(title="CIDEr-D of captions for validation photos", xlabel="epoch")
    left.legend()
    return figure


def plot_bars(values, title, intervals=None, subsets="captioner"):
    """One bar a name, with its value, and its `(low, high)` where `intervals` has them."""
    figure, axis = plt.subplots(figsize=(6.5, 0.45 * len(values) + 0.9))
    names, ends = list(values)[::-1], intervals or {}
    others = GRAY if subsets in values else BLUE
    colors = [BLUE if name == subsets else others for name in names]
    axis.barh(names, [values[name] for name in names], color=colors)
    for row, name in enumerate(names):
        low, high = ends.get(name, (values[name],) * 2)
        axis.plot([low, high], [row, row], color=INK, linewidth=2)
        axis.text(high, row, f"  {values[name]:.2f}", va="center")
    axis.set(title=title)
    axis.margins(x=0.12)
    return figure


def show_captioned(paths, captions, references, notes, columns=3, people=2):
    """Photos with the caption written for them above, and what people said and a note below."""
    above = [wrap_text(caption, 24) for caption in captions]
    below = [
        "\n".join([*(wrap_text(f"– {text}", 33) for text in said[:people]), note])
        for said, note in zip(references, notes, strict=True)
    ]
    tallest = [max(text.count("\n") + 1 for text in texts) for texts in (above, below)]
    extra = (14 * tallest[0] + 12 * tallest[1]) / 72  # inches for lines of 10 and 8 points
    figure, axes = make_panels(len(paths), columns, size=2.1, extra=extra)
    for axis, path, title, label in zip(axes, paths, above, below, strict=True):
        axis.imshow(load_thumbnail(path))
        axis.set_title(title, loc="center", fontsize=10, color=BLUE, fontweight="bold")
        axis.set_xlabel(label, fontsize=8)
    return figure


def show_attention(pixels, words, attention, columns=5):
    """The picture, then once for every word, clear where the captioner looked when it wrote it.

    `attention` is `(words, cells)`. Taught in 05_visualize.
    """
    side = round(attention.shape[-1] ** 0.5)
    figure, (first, *axes) = make_panels(len(words) + 1, columns, size=1.15, extra=0.25)
    first.imshow(pixels)
    dark = 0.35 * np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    for axis, word, cells in zip(axes, words, attention, strict=False):
        light = Image.fromarray((255 * cells / cells.max()).astype(np.uint8).reshape(side, side))
        light = np.asarray(light.resize(pixels.shape[1::-1], Image.Resampling.BICUBIC))[..., None]
        axis.imshow((dark + (pixels - dark) * (light / 255)).astype(np.uint8))
        axis.set_title(word, fontsize=10)
    return figure


def plot_beam_tree(steps, winner, vocabulary):
    """Beam search as a tree, a column a step: what stayed is blue. Taught in 04_evaluate.

    `steps` are lists of `(numbers, stayed)`, the numbers of a beginning with the start in front;
    a thick line leads to the `winner`.
    """
    height = max(map(len, steps))
    figure, axis = plt.subplots(figsize=(1.6 * len(steps) + 1, 0.3 * height + 0.4))
    places = {winner[:1]: (0, 0)}
    for column, step in enumerate(steps, 1):
        for row, (numbers, stayed) in enumerate(step):
            places[numbers] = column, -row
            color, wins = BLUE if stayed else GRAY, numbers == winner[: column + 1]
            parts = zip(places[numbers[:-1]], places[numbers], strict=True)
            axis.plot(*parts, color=color, linewidth=3 if wins else 1, zorder=0)
    for numbers, (column, row) in places.items():
        axis.text(column, row, vocabulary[numbers[-1]], ha="center", va="center", bbox=LABEL_BOX)
    axis.set_axis_off()
    return figure


def plot_architecture(boxes):
    """What goes through a captioner: `boxes` are name -> (column, row, shape, *boxes before it).

    Taught in 03_train.
    """
    columns, rows = (1 + max(place[axis] for place in boxes.values()) for axis in (0, 1))
    figure, axis = plt.subplots(figsize=(1.6 * columns, 0.95 * rows))
    frame, drawn = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": BLUE}, {}
    for name, (column, row, shape, *before) in boxes.items():
        label = f"{name}\n{' × '.join(f'{size:,}' for size in shape)}"
        style = {"ha": "center", "va": "center", "fontsize": 9, "bbox": frame}
        text = drawn[name] = axis.text(column, -row, label, **style)
        for other in before:
            ends = {"patchA": drawn[other].get_bbox_patch(), "patchB": text.get_bbox_patch()}
            arrow = {"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0} | ends
            axis.annotate("", text.get_position(), drawn[other].get_position(), arrowprops=arrow)
    axis.set(xlim=(-0.6, columns - 0.4), ylim=(0.5 - rows, 0.5))
    axis.set_axis_off()
    return figure


def plot_score_scatter(across, up, names, subsets):
    """A dot for each photo by two scores; `marked` are label -> row of those that stand out."""
    figure, axis = plt.subplots(figsize=(5, 3.2))
    axis.scatter(across, up, s=12, color=GRAY, alpha=0.6, linewidths=0)
    for label, row in subsets.items():
        axis.scatter(across[row], up[row], s=40, color=BLUE, zorder=4)
        side = "right" if across[row] > np.mean(axis.get_xlim()) else "left"
        axis.text(across[row], up[row], label, ha=side, va="bottom", color=BLUE, bbox=LABEL_BOX)
    axis.set(xlabel=names[0], ylabel=names[1])
    return figure
