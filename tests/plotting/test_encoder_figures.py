"""Figures of what a CNN computes show the numbers that they are given."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from utils.plotting import encoder_figures

PIXELS = np.full((40, 50, 3), 200, np.uint8)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_receptive_fields_are_squares_around_the_center():
    figure = encoder_figures.show_receptive_fields(PIXELS, (20.5, 10), [3, 7, 15])
    figure.canvas.draw()
    (axis,) = figure.axes
    boxes = set()
    for patch in axis.patches:
        assert patch.get_x() + patch.get_width() / 2 == 20.5
        assert patch.get_y() + patch.get_height() / 2 == 10
        boxes.add((patch.get_width(), patch.get_height()))
    assert boxes == {(3, 3), (7, 7), (15, 15)}
    assert [text.get_text() for text in axis.texts] == ["7 × 7", "15 × 15"]


def test_bars_are_as_long_as_the_probabilities():
    names = [["cat", "dog"], ["suit", "tie"]]
    probabilities = [np.array([0.75, 0.2]), np.array([0.4, 0.1])]
    figure = encoder_figures.show_top_classes([PIXELS] * 2, names, probabilities)
    figure.canvas.draw()
    for row in range(2):
        photo_axis, bar_axis = figure.axes[2 * row : 2 * row + 2]
        assert photo_axis.images[0].get_array().shape == PIXELS.shape
        widths = [bar.get_width() for bar in bar_axis.patches]
        assert widths == pytest.approx(probabilities[row])
        heights = [bar.get_y() for bar in bar_axis.patches]
        assert heights == sorted(heights, reverse=True)  # the most probable class on top
        first_label = bar_axis.texts[0].get_text()
        assert first_label == f"{names[row][0]} {probabilities[row][0]:.2f}"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_maps_have_one_scale_and_stand_below_their_photos(count):
    maps = [np.full((7, 7), float(number)) for number in range(1, count + 1)]
    figure = encoder_figures.show_activations([PIXELS] * count, maps)
    figure.canvas.draw()
    shown = min(count, 4)
    assert len(figure.axes) == 2 * shown
    for column in range(shown):
        image = figure.axes[shown + column].images[0]
        assert np.all(image.get_array() == column + 1)
        assert image.get_clim() == (0, count)
        photo_box = figure.axes[column].get_position()
        map_box = figure.axes[shown + column].get_position()
        assert map_box.y1 < photo_box.y0
        assert map_box.x0 == pytest.approx(photo_box.x0, abs=0.02)


def test_scale_of_negative_activations_begins_at_the_lowest():
    figure = encoder_figures.show_activations([PIXELS], [np.array([[-2.0, 3.0]])])
    assert figure.axes[1].images[0].get_clim() == (-2, 3)
