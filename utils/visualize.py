"""Everything that is drawn: one style for all five notebooks, and the gallery page.

Matplotlib and HTML only, no TensorFlow. Colours are told apart by the colour-blind as well, and
the white ground of each figure keeps it legible in a dark JupyterLab.
"""

import base64
import html
import io
import textwrap
from pathlib import Path
from string import Template

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from utils.store import write_text

GALLERY = Path(__file__).with_name("gallery.html")
BLUE, INK, GREY = "#0072b2", "#22313f", "#8a94a0"

plt.style.use(Path(__file__).with_name("notebooks.mplstyle"))


def open_square(path, side=224):
    """A photo as the CNN sees it: its middle square, `(side, side, 3)` in 0..255."""
    image = Image.open(path).convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    image = image.crop((left, top, left + short, top + short))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def wrap(text, width=34):
    """Text in lines of at most `width` letters."""
    return "\n".join(textwrap.wrap(text, width)) or " "


def panels(count, columns, size=2.4, extra=0.0):
    """A figure with `count` axes in a grid, ticks off, unused ones hidden."""
    columns = min(columns, count)
    rows = -(-count // columns)
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
    extra = 0.25 * max(len(wrap(title).splitlines()) for title in titles) if any(titles) else 0
    figure, axes = panels(len(paths), columns, size, extra)
    for axis, path, title in zip(axes, paths, titles, strict=True):
        axis.imshow(open_square(path))
        axis.set_xlabel(wrap(title), fontsize=9)
    return figure


def show_maps(pixels, maps, titles):
    """A picture, and some channels of its feature grid beside it: bright where they answer."""
    figure, axes = panels(len(maps) + 1, len(maps) + 1, size=2.0)
    axes[0].imshow(pixels)
    axes[0].set_title("the picture")
    for axis, values, title in zip(axes[1:], maps, titles, strict=True):
        axis.imshow(values, cmap="cividis")
        axis.set_title(title)
    return figure


def show_cells(pixels, side):
    """A picture with the grid of cells that the CNN describes."""
    figure, (axis,) = panels(1, 1, size=3.2)
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
    left.axvline(kept, color=GREY, linestyle="--")
    left.set(title="Few words are frequent", xlabel="rank of the word", ylabel="times seen")
    right.plot(np.arange(1, len(ranked) + 1), 100 * coverage)
    right.axvline(kept, color=GREY, linestyle="--")
    right.set(title="Few words cover most text", xlabel="words kept", ylabel="% of all words")
    return figure


def plot_lengths(lengths, max_words):
    """How long captions are, and where they are cut."""
    figure, axis = plt.subplots(figsize=(6, 2.4))
    axis.hist(lengths, bins=np.arange(0.5, max(max(lengths), max_words) + 1.5), color=BLUE)
    axis.axvline(max_words + 0.5, color=GREY, linestyle="--")
    axis.set(title="Words in a caption", xlabel="words", ylabel="captions")
    return figure


def plot_histories(histories):
    """Loss and validation score by epoch for each captioner; a ring marks the epoch kept."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
    for name, history in histories.items():
        epochs = [row["epoch"] for row in history]
        scores = [row["CIDEr-D"] for row in history]
        left.plot(epochs, [row["loss"] for row in history], label=name)
        right.plot(epochs, scores, label=name)
        best = int(np.argmax(scores))
        right.plot(epochs[best], scores[best], "o", ms=10, mfc="none", color=INK)
    left.set(title="Training loss", xlabel="epoch")
    right.set(title="CIDEr-D of captions for validation photos", xlabel="epoch")
    left.legend()
    return figure


def plot_scores(scores, metric="CIDEr-D"):
    """One bar a row of a table of scores: the captioner between blind guess and human."""
    figure, axis = plt.subplots(figsize=(6.5, 0.45 * len(scores) + 0.9))
    names = list(scores)[::-1]
    values = [scores[name][metric] for name in names]
    bars = axis.barh(names, values, color=[BLUE if n == "captioner" else GREY for n in names])
    axis.bar_label(bars, fmt="%.2f", padding=3)
    axis.set(title=metric)
    return figure


def show_captioned(paths, captions, references, scores, columns=3):
    """Photos with the caption written for them above, and what people said and the score below."""
    above = [wrap(caption, 26) for caption in captions]
    below = [
        "\n".join([*(wrap(f"– {text}", 38) for text in said[:2]), f"CIDEr-D {value:.2f}"])
        for said, value in zip(references, scores, strict=True)
    ]
    tallest = [max(text.count("\n") + 1 for text in texts) for texts in (above, below)]
    extra = (14 * tallest[0] + 12 * tallest[1]) / 72  # inches for lines of 10 and 8 points
    figure, axes = panels(len(paths), columns, size=2.4, extra=extra)
    for axis, path, title, label in zip(axes, paths, above, below, strict=True):
        axis.imshow(open_square(path))
        axis.set_title(title, loc="center", fontsize=10, color=BLUE, fontweight="bold")
        axis.set_xlabel(label, fontsize=8)
    return figure


def show_attention(pixels, words, attention, columns=6):
    """The picture once for every word, bright where the captioner looked when it wrote it.

    `attention` is `(words, cells)`. Taught in 05_visualize.
    """
    side = round(attention.shape[-1] ** 0.5)
    figure, axes = panels(len(words), columns, size=1.3)
    for axis, word, cells in zip(axes, words, attention, strict=False):
        axis.imshow(pixels)
        light = Image.fromarray((255 * cells / cells.max()).astype(np.uint8).reshape(side, side))
        light = np.asarray(light.resize(pixels.shape[:2], Image.Resampling.BICUBIC)) / 255
        axis.imshow(np.zeros_like(pixels), alpha=0.75 * (1 - light))
        axis.set_title(word, fontsize=10)
    return figure


def write_gallery(path, cards, title, note):
    """One self-contained HTML page: every photo with its caption, references and score.

    `cards` are dicts with path, caption, references and score. Everything that people or models
    wrote is escaped: a caption is text, never markup.
    """
    figures = "\n".join(gallery_card(**card) for card in cards)
    page = Template(GALLERY.read_text(encoding="utf-8"))
    page = page.substitute(title=html.escape(title), note=html.escape(note), figures=figures)
    write_text(path, page)


def gallery_card(path, caption, references, score):
    """One photo of the gallery; the caption is its alternative text too."""
    file = io.BytesIO()
    Image.fromarray(open_square(path, 160)).save(file, "JPEG", quality=80)
    picture = base64.b64encode(file.getvalue()).decode()
    said = "".join(f"<li>{html.escape(text)}</li>" for text in references)
    return (
        f'<figure><img src="data:image/jpeg;base64,{picture}" alt="{html.escape(caption)}">'
        f"<figcaption><b>{html.escape(caption)}</b> <small>CIDEr-D {score:.2f}</small>"
        f"<ul>{said}</ul></figcaption></figure>"
    )
