"""Figures are drawn of anything that can come, and captions in the gallery are text, not markup."""

import re

import matplotlib
import numpy as np
import pytest
from PIL import Image

matplotlib.use("Agg")

from utils import visualize


@pytest.fixture
def paths(tmp_path):
    """Four photos of several shapes."""
    sizes = [(60, 40), (40, 60), (50, 50), (9, 300)]
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (10, 200, 10 * number)).save(tmp_path / f"{number}.jpg")
    return sorted(tmp_path.glob("*.jpg"))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    visualize.plt.close("all")


LONG = "a very long caption of a small brown dog that runs and runs through deep white snow " * 2


def draw(figure):
    """Draw a figure for real: layout errors come only then."""
    figure.canvas.draw()
    return figure


def test_photos_are_shown_as_the_cnn_sees_them(paths):
    for path in paths:
        assert visualize.open_square(path).shape == (224, 224, 3)
    figure = draw(visualize.show_photos(paths, ["a dog", LONG, "", "cats"], columns=3))
    assert sum(bool(axis.images) for axis in figure.axes) == 4
    assert figure.axes[0].get_xlabel() == "a dog"


def test_captioned_photos_do_not_overlap(paths):
    long = "there are three brown horses jumping through the mountains with a balloon at night"
    figure = draw(
        visualize.show_captioned(paths, [long, long, "b", long], [[long] * 5] * 4, [0.1, 1, 2, 3])
    )
    renderer = figure.canvas.get_renderer()
    texts = [text for axis in figure.axes[:4] for text in (axis.title, axis.xaxis.label)]
    boxes = [text.get_window_extent(renderer) for text in texts]
    boxes += [axis.get_window_extent(renderer) for axis in figure.axes[:4]]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1)


def test_attention_has_a_picture_for_every_word(paths):
    attention = np.random.RandomState(0).dirichlet(np.ones(49), size=3)
    figure = draw(
        visualize.show_attention(visualize.open_square(paths[0]), ["a", "dog", "runs"], attention)
    )
    assert [axis.get_title(loc="left") for axis in figure.axes[:3]] == ["a", "dog", "runs"]


def test_the_best_epoch_is_ringed():
    history = [{"epoch": e, "loss": 3 - e, "CIDEr-D": s} for e, s in ((1, 0.2), (2, 0.9), (3, 0.5))]
    figure = draw(visualize.plot_histories({"merge": history}))
    ring = figure.axes[1].lines[-1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 0.9)


def test_the_vocabularys_cut_is_where_words_get_too_rare():
    counts = {"a": 100, "dog": 10, "runs": 2, "zebra": 1, "yawns": 1}
    figure = draw(visualize.plot_vocabulary(counts, min_count=2))
    assert {line.get_xdata()[0] for axis in figure.axes for line in axis.lines[1:]} == {3}


def test_other_figures_are_drawn(paths):
    draw(visualize.plot_lengths(np.array([3, 4, 4, 30]), 20))
    draw(visualize.plot_scores({"one human": {"CIDEr-D": 0.8}, "captioner": {"CIDEr-D": 0.5}}))
    draw(visualize.show_cells(visualize.open_square(paths[0]), 7))
    draw(visualize.show_maps(visualize.open_square(paths[0]), np.ones((2, 7, 7)), ["a", "b"]))


def test_the_gallery_is_one_page_that_asks_nothing_of_the_network_and_escapes(tmp_path, paths):
    hostile = '<script>alert("x")</script> & "a dog"'
    cards = [{"path": p, "caption": hostile, "references": [hostile], "score": 1.0} for p in paths]
    page = tmp_path / "gallery.html"
    visualize.write_gallery(page, cards, "What & who", "test <b>split</b>")
    text = page.read_text(encoding="utf-8")
    assert text.count("<figure>") == 4 and "<script" not in text and "<b>split" not in text
    assert text.count('alt="&lt;script&gt;') == 4
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
