"""Figures of notebook 2: token frequencies, unknown tokens, and a padded batch with its mask."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba

matplotlib.use("Agg")

from utils.plotting import charts, diagrams


@pytest.fixture(autouse=True)
def close_figures():
    yield
    charts.plt.close("all")


def axis_texts(axis):
    return [text.get_text() for text in axis.texts]


def test_zipf_line_falls_as_one_over_the_rank_to_the_last_rank_of_all_corpora():
    shares = {"small": {1: 50.0, 2: 30.0, 3: 20.0}, "large": {1: 12.0, 100: 0.1}}
    figure = charts.plot_zipf(shares, zipf=10, labels={2: "dog"})
    figure.canvas.draw()
    (axis,) = figure.axes
    lines = {line.get_label(): line for line in axis.lines}
    np.testing.assert_array_equal(lines["small"].get_xydata(), [[1, 50], [2, 30], [3, 20]])
    np.testing.assert_array_equal(lines["large"].get_xydata(), [[1, 12], [100, 0.1]])
    np.testing.assert_allclose(lines["Zipf's law"].get_xydata(), [[1, 10], [100, 0.1]])
    (label,) = axis.texts
    assert (label.get_text(), label.xy) == ("dog", (2, 30))


def test_unknown_tokens_have_a_line_per_corpus_and_a_mark_at_the_setting():
    rates = {"these captions": {1: 0.5, 4: 2.0}, "Flickr8k": {1: 1.3, 4: 3.0, 16: 6.5}}
    figure = charts.plot_unknown(rates, min_count=4)
    figure.canvas.draw()
    (axis,) = figure.axes
    first, second, mark = axis.lines
    np.testing.assert_array_equal(first.get_ydata(), [0.5, 2.0])
    np.testing.assert_array_equal(second.get_xdata(), [1, 4, 16])
    assert list(mark.get_xdata()) == [4, 4]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "4", "16"]


VOCABULARY = ["<pad>", "<bos>", "<eos>", "<unk>", "dogs", "skateboarding"]


def test_padded_batch_has_its_tokens_above_its_mask_and_gray_padding():
    token_ids = np.array([[1, 4, 2, 0], [1, 4, 5, 2]])
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    figure = diagrams.plot_padded_batch(token_ids, mask, VOCABULARY)
    figure.canvas.draw()
    batch_axis, mask_axis = figure.axes
    first_row = ["<bos>", "dogs", "<eos>", "<pad>"]
    assert axis_texts(batch_axis) == [*first_row, "<bos>", "dogs", "skateboa…", "<eos>"]
    assert axis_texts(mask_axis) == list("11101111")
    for axis in figure.axes:
        gray = [cell.get_facecolor() == to_rgba(diagrams.LIGHT_GRAY) for cell in axis.patches]
        assert gray == [value == 0 for value in mask.flat]
        assert axis.get_title(loc="left").endswith("2 × 4")


@pytest.mark.parametrize(("columns", "rotation"), [(9, 0), (10, 90), (22, 90)])
def test_tokens_of_long_batches_are_written_upwards_and_fit_into_their_cells(columns, rotation):
    token_ids = np.full((2, columns), 5)
    figure = diagrams.plot_padded_batch(token_ids, np.ones_like(token_ids), VOCABULARY)
    figure.canvas.draw()
    axis = figure.axes[0]
    for text, cell in zip(axis.texts, axis.patches, strict=True):
        text_box = text.get_window_extent()
        cell_box = cell.get_window_extent()
        assert text.get_rotation() == rotation
        assert text.get_fontsize() >= 7
        assert text_box.width <= cell_box.width
        assert text_box.height <= cell_box.height
