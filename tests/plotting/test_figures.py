"""Figures and charts of unusual data, and the file of the gallery."""

import base64
import io
import json
import re

import matplotlib
import numpy as np
import pytest
from PIL import Image

from utils.plotting.gallery import write_gallery

matplotlib.use("Agg")

from utils.plotting import charts, figures, style


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
    charts.plt.close("all")


LONG = "a very long caption of a small brown dog that runs and runs through deep white snow " * 2


def draw(figure):
    """Draw a figure for real: layout errors come only then."""
    figure.canvas.draw()
    return figure


def test_thumbnails_keep_proportions(paths, tmp_path):
    Image.new("RGB", (500, 300)).save(tmp_path / "wide.jpg")
    assert style.load_thumbnail(tmp_path / "wide.jpg").shape == (134, 224, 3)
    figure = draw(figures.show_photos(paths, ["a dog", LONG, "", "cats"], columns=3))
    assert sum(bool(axis.images) for axis in figure.axes) == 4
    assert figure.axes[0].get_xlabel() == "a dog"


def test_captioned_photos_do_not_overlap(paths):
    long = "there are three brown horses jumping through the mountains with a balloon at night"
    figure = draw(
        figures.show_captioned(
            paths, [long, long, "b", long], [[long] * 5] * 4, ["CIDEr-D 0.10, 9% sure"] * 4
        )
    )
    renderer = figure.canvas.get_renderer()
    texts = [text for axis in figure.axes[:4] for text in (axis.title, axis.xaxis.label)]
    boxes = [text.get_window_extent(renderer) for text in texts]
    boxes += [axis.get_window_extent(renderer) for axis in figure.axes[:4]]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1)


def test_attention_has_a_panel_for_every_token(paths):
    attention = np.random.RandomState(0).dirichlet(np.ones(49), size=3)
    figure = draw(
        figures.show_attention(style.load_thumbnail(paths[0]), ["a", "dog", "runs"], attention)
    )
    whole, *words = figure.axes[:4]
    assert [axis.get_title(loc="left") for axis in words] == ["a", "dog", "runs"]
    assert np.array_equal(whole.images[0].get_array(), style.load_thumbnail(paths[0]))


def test_best_epoch_is_marked():
    history = [{"epoch": e, "loss": 3 - e, "CIDEr-D": s} for e, s in ((1, 0.2), (2, 0.9), (3, 0.5))]
    figure = draw(charts.plot_histories({"merge": history}))
    ring = figure.axes[1].lines[-1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 0.9)


def test_vocabulary_size_is_marked_where_tokens_get_rarer_than_min_count():
    counts = {"a": 100, "dog": 10, "runs": 2, "zebra": 1, "yawns": 1}
    figure = draw(charts.plot_vocabulary(counts, min_count=2))
    assert {line.get_xdata()[0] for axis in figure.axes for line in axis.lines[1:]} == {3}


def test_other_figures_are_drawn_without_errors(paths):
    draw(charts.plot_lengths(np.array([3, 4, 4, 30]), 20))
    draw(charts.plot_bars({"one human": 0.8, "captioner": 0.5}, "CIDEr-D"))
    draw(figures.show_grid_cells(style.load_thumbnail(paths[0]), 7))
    draw(figures.show_feature_maps(style.load_thumbnail(paths[0]), np.ones((2, 7, 7)), ["a", "b"]))


def test_bars_have_their_order_values_and_intervals():
    scores = {"constant": 0.1, "captioner": 0.5}
    figure = draw(charts.plot_bars(scores, "CIDEr-D", {"captioner": (0.4, 0.7)}))
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["captioner", "constant"]
    assert [bar.get_width() for bar in axis.patches] == [0.5, 0.1]
    assert [list(line.get_xdata()) for line in axis.lines] == [[0.4, 0.7], [0.1, 0.1]]
    assert [text.get_text().strip() for text in axis.texts] == ["0.50", "0.10"]
    assert axis.texts[0].get_position()[0] == 0.7  # beside the interval, not on it
    first, second = (bar.get_facecolor() for bar in axis.patches)
    assert first != second


def read_gallery(page):
    """The cards of a gallery page, as its script reads them."""
    text = page.read_text(encoding="utf-8")
    return text, json.loads(re.search(r'<script type="application/json">(.*)</script>', text)[1])


def test_gallery_is_self_contained_and_escapes_captions(tmp_path, paths):
    hostile = '</script><script>alert("x")</script> & "a dog"'
    attention = np.random.RandomState(0).dirichlet(np.ones(49), size=3)
    card = {"caption": hostile, "references": [hostile], "score": 1.0, "confidence": 0.5}
    cards = [card | {"path": path, "attention_weights": attention} for path in paths]
    write_gallery(tmp_path / "gallery.html", cards, "What & who", "test <b>split</b>")
    text, written = read_gallery(tmp_path / "gallery.html")
    assert "alert" in text and "<script>alert" not in text and "<b>split" not in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|https?:""", text)
    assert [{key: one[key] for key in card} for one in written] == [card] * 4
    for one, path in zip(written, paths, strict=True):
        photo = np.asarray(Image.open(io.BytesIO(base64.b64decode(one["image"]))), float)
        assert np.abs(photo - style.load_thumbnail(path, max(photo.shape))).max() < 4
        weights = np.frombuffer(base64.b64decode(one["weights"]), np.uint8).reshape(3, 49)
        assert (weights.max(axis=1) >= 254).all()
        np.testing.assert_array_equal(weights.argmax(axis=1), attention.argmax(axis=1))


def test_gallery_of_many_photos_has_smaller_thumbnails(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "wide.png")
    path = tmp_path / "wide.png"
    card = {"caption": "a dog", "references": [], "score": 1.0, "confidence": 0.5, "path": path}
    sides = {}
    for count in (1, 1000, 3000):
        cards = [card | {"attention_weights": np.zeros((2, 0))}] * count
        write_gallery(tmp_path / "page.html", cards, "", "")
        _, written = read_gallery(tmp_path / "page.html")
        assert len(written) == count and written[0]["weights"] == ""
        sides[count] = Image.open(io.BytesIO(base64.b64decode(written[0]["image"]))).width
    assert sides == {1: 224, 1000: 160, 3000: 92}
