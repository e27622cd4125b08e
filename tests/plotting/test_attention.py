"""Attention over a photo: where the color is, what stays of the photo, and the contour."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from utils.plotting.attention import MAX_OPACITY, draw_attention, overlay_attention, upsample

GRASS = (60, 140, 50)


def one_hot(cell, cells=81):
    """Weights of a grid with all attention on one cell."""
    weights = np.zeros(cells, np.float32)
    weights[cell] = 1
    return weights


@pytest.fixture
def axis():
    _, axis = plt.subplots()
    yield axis
    plt.close("all")


@pytest.fixture
def black_dog():
    """A black square on grass, as pixels."""
    pixels = np.full((90, 180, 3), GRASS, np.uint8)
    pixels[40:80, 60:120] = 0
    return pixels


def test_upsampled_map_has_its_maximum_inside_the_cell():
    weights = np.random.default_rng(0).dirichlet(np.ones(81))
    heat = upsample(weights, (90, 180))
    assert heat.shape == (90, 180)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 9 * (row // 10) + column // 20 == weights.argmax()
    assert heat.max() == pytest.approx(1, abs=0.05)


def test_photo_is_unchanged_where_the_weight_is_zero(black_dog):
    panel = overlay_attention(black_dog, one_hot(2 * 9 + 7))
    np.testing.assert_array_equal(panel[60:], black_dog[60:])
    changed = np.abs(panel.astype(int) - black_dog).sum(axis=2)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert (row // 10, column // 20) == (2, 7)


@pytest.mark.parametrize("color", [(0, 0, 0), GRASS, (255, 255, 255), (96, 110, 130)])
def test_largest_weight_is_visible_on_any_color_and_never_darkens(color):
    pixels = np.full((90, 90, 3), color, np.uint8)
    panel = overlay_attention(pixels, one_hot(40)).astype(int)
    assert np.abs(panel[45, 45] - color).max() > 80
    # The color of the largest weight is bright, so that no photo becomes nearly black.
    assert panel[45, 45].max() > 150


def test_only_relative_weights_matter_and_details_stay_visible(black_dog):
    weights = np.random.default_rng(1).dirichlet(np.ones(81))
    panel = overlay_attention(black_dog, weights)
    np.testing.assert_array_equal(panel, overlay_attention(black_dog, 0.5 * weights))
    uniform = overlay_attention(black_dog, np.ones(81)).astype(int)
    difference = np.abs(uniform[60, 90] - uniform[10, 10]).max()
    assert difference >= (1 - MAX_OPACITY) * max(GRASS) - 1


def test_contour_surrounds_the_largest_weight(axis, black_dog):
    draw_attention(axis, black_dog, one_hot(40))
    (contour,) = axis.collections
    (path,) = contour.get_paths()
    assert path.contains_point((90, 45))
    assert not path.contains_point((30, 45))
    halo = contour.get_path_effects()[0]._gc
    assert halo["foreground"] == "white"
    assert halo["linewidth"] > contour.get_linewidths()[0]


def test_uniform_weights_have_no_contour(axis, black_dog):
    draw_attention(axis, black_dog, np.ones(81))
    assert not axis.collections
