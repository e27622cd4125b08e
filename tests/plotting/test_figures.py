"""Figures and charts of unusual data, and the file of the gallery."""

import base64
import io
import itertools
import json
import re

import matplotlib
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from utils.evaluation.calibration import reliability_bins
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


def test_captioned_photos_have_all_references_and_texts_do_not_overlap(paths):
    long = "there are three brown horses jumping through the mountains with a balloon at night"
    captions = [long, long, "b", long]
    references = [[long] * 5, ["a dog"], [], [long] * 8]
    notes = ["CIDEr-D 0.10, confidence 9 %\nanimals: dog instead of cat"] * 4
    figure = draw(figures.show_captioned(paths, captions, references, notes))
    renderer = figure.canvas.get_renderer()
    boxes = [artist.get_window_extent(renderer) for artist in (*figure.axes, *figure.texts)]
    for first, second in itertools.combinations(boxes, 2):
        assert not first.overlaps(second)
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    shown = [" ".join(text.get_text().split()) for text in figure.texts]
    assert shown[::2] == captions
    for text, photo_references in zip(shown[1::2], references, strict=True):
        assert text.count("–") == len(photo_references)
        assert text.endswith("dog instead of cat")


def test_no_figure_of_photos_is_wider_than_a_page(paths):
    for columns in (1, 2, 3, 4):
        figure = figures.show_photos(paths, ["a dog"] * 4, columns)
        assert figure.get_figwidth() <= style.PAGE_WIDTH + 1e-6
        title_size = figure.axes[0].xaxis.label.get_fontsize()
        # The width of a page on a phone is 390 pixels.
        assert title_size / 72 * 390 / figure.get_figwidth() >= 10


def test_notebook_displays_a_figure_of_photos_as_jpeg_and_a_chart_as_png(paths):
    formatter = DisplayFormatter()
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", shown.append)
        data, _ = formatter.format(figures.show_photos(paths))
        assert data == {}  # it displays itself
    (image,) = shown
    assert image.format == "jpeg"
    with Image.open(io.BytesIO(image.data)) as decoded:
        assert decoded.format == "JPEG"
    chart, _ = formatter.format(charts.plot_lengths([3, 4], 20))
    assert "text/plain" in chart


def test_attention_has_a_panel_for_every_token(paths):
    pixels = style.load_thumbnail(paths[0])
    tokens = ["a", "dog", "runs"]
    weights = np.random.RandomState(0).dirichlet(np.full(49, 0.2), size=3)
    weights[0] = 1 / 49 + np.linspace(-0.01, 0.01, 49)
    figure = draw(figures.show_attention(pixels, tokens, weights))
    image_axis, *token_axes = figure.axes[:4]
    assert [axis.get_title(loc="left") for axis in token_axes] == ["a (diffuse)", "dog", "runs"]
    assert [len(axis.collections) for axis in token_axes] == [0, 1, 1]  # contour lines
    np.testing.assert_array_equal(image_axis.images[0].get_array(), pixels)


def test_best_epoch_is_marked():
    history = [
        {"epoch": 1, "loss": 2, "CIDEr-D": 0.2},
        {"epoch": 2, "loss": 1, "CIDEr-D": 0.9},
        {"epoch": 3, "loss": 0, "CIDEr-D": 0.5},
    ]
    figure = draw(charts.plot_histories({"merge": history}))
    ring = figure.axes[1].lines[-1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 0.9)


def test_the_best_epochs_by_loss_and_by_score_are_marked():
    history = [
        {"epoch": 1, "val_loss": 2.0, "CIDEr-D": 0.2},
        {"epoch": 2, "val_loss": 1.0, "CIDEr-D": 0.5},
        {"epoch": 3, "val_loss": 1.5, "CIDEr-D": 0.9},
        {"epoch": 4, "val_loss": 1.8, "CIDEr-D": 0.9},
    ]
    figure = draw(charts.plot_epoch_choice(history))
    rings = [axis.lines[-1] for axis in figure.axes]
    assert [ring.get_xydata().tolist() for ring in rings] == [[[2, 1.0]], [[4, 0.9]]]
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert [title.split(": ")[1] for title in titles] == ["lowest in epoch 2", "highest in epoch 4"]


def test_validation_loss_is_drawn_where_all_epochs_have_it():
    rows = [{"epoch": 1, "loss": 2.0, "CIDEr-D": 0.2}, {"epoch": 2, "loss": 1.0, "CIDEr-D": 0.5}]
    with_loss = [{**row, "val_loss": row["loss"] + 1} for row in rows]
    figure = draw(charts.plot_histories({"merge": rows, "attention": with_loss}))
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert lines == [[2.0, 1.0], [2.0, 1.0], [3.0, 2.0]]


def test_other_figures_are_drawn_without_errors(paths):
    pixels = style.load_thumbnail(paths[0])
    draw(charts.plot_lengths(np.array([3, 4, 4, 30]), 20))
    draw(charts.plot_bars({"one human": 0.8, "captioner": 0.5}, "CIDEr-D"))
    draw(figures.show_grid_cells(pixels, 7))
    draw(figures.show_feature_maps(pixels, np.ones((2, 7, 7)), ["a", "b"]))


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


def test_reliability_diagram_has_a_dot_and_an_interval_for_each_bin_and_the_counts():
    confidence = np.array([0.05, 0.55, 0.58, 0.59, 0.95, 1.0])
    good = np.array([False, True, False, True, True, True])
    figure = draw(charts.plot_reliability(confidence, good, bins=10))
    diagram, histogram = figure.axes
    expected = reliability_bins(confidence, good, bins=10)
    diagonal, *lines = diagram.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    intervals = lines[::2]
    dots = lines[1::2]
    assert len(dots) == len(intervals) == len(expected) == 3
    for group, dot, interval in zip(expected, dots, intervals, strict=True):
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (group.confidence, group.fraction_good)
        assert list(interval.get_ydata()) == [group.low, group.high]
    assert [text.get_text() for text in histogram.texts] == ["1", "3", "2"]
    num_good = [bar.get_height() for bar in histogram.containers[0]]
    assert num_good == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]


def test_reliability_diagram_of_captions_that_are_all_good():
    draw(charts.plot_reliability(np.full(5, 0.99), np.ones(5, bool)))


def read_gallery(page):
    """The text of a gallery page, and its cards as its script reads them."""
    text = page.read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json">(.*)</script>', text)[1]
    return text, json.loads(data)


def test_gallery_is_self_contained_and_escapes_captions(tmp_path, paths):
    hostile = '</script><script>alert("x")</script> & "a dog"'
    attention_weights = np.random.RandomState(0).dirichlet(np.ones(49), size=3)
    card = {"caption": hostile, "references": [hostile], "score": 1.0, "confidence": 0.5}
    cards = [{**card, "path": path, "attention_weights": attention_weights} for path in paths]
    write_gallery(tmp_path / "gallery.html", cards, "What & who", "test <b>split</b>")
    text, written = read_gallery(tmp_path / "gallery.html")
    assert "alert" in text and "<script>alert" not in text and "<b>split" not in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|https?:""", text)
    for written_card, path in zip(written, paths, strict=True):
        assert {key: written_card[key] for key in card} == card
        image = np.asarray(decode_image(written_card), float)
        assert np.abs(image - style.load_thumbnail(path, max(image.shape))).max() < 4
        weights = np.frombuffer(base64.b64decode(written_card["weights"]), np.uint8)
        weights = weights.reshape(3, 49)
        assert (weights.max(axis=1) >= 254).all()
        np.testing.assert_array_equal(weights.argmax(axis=1), attention_weights.argmax(axis=1))


def decode_image(card):
    """The image of a card as the page contains it."""
    return Image.open(io.BytesIO(base64.b64decode(card["image"])))


def test_gallery_of_many_photos_has_smaller_thumbnails(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "wide.png")
    card = {
        "path": tmp_path / "wide.png",
        "caption": "a dog",
        "references": [],
        "score": 1.0,
        "confidence": 0.5,
        "attention_weights": np.zeros((2, 0)),
    }
    widths = {}
    for count in (1, 1000, 3000):
        write_gallery(tmp_path / "page.html", [card] * count, "", "")
        _, written = read_gallery(tmp_path / "page.html")
        assert len(written) == count
        assert written[0]["weights"] == ""
        widths[count] = decode_image(written[0]).width
    assert widths == {1: 224, 1000: 160, 3000: 92}
