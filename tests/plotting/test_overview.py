"""The figure of the whole pipeline: which channels and words it shows, and its layout."""

import io
import itertools

import matplotlib
import numpy as np
import pytest
from PIL import Image

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from utils.plotting.overview import OverviewExample, choose_channels, show_overview
from utils.plotting.style import PAGE_WIDTH, encode_jpeg

LONG = "a man in a red shirt is standing in front of a red building with a brown and white dog"


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def make_example(shape=(120, 160, 3), side=9, channels=20, words=4, caption=LONG):
    """An example with random features and weights."""
    rng = np.random.default_rng(3)
    names = ["building", "motorcycle", "shirt", "dog"][:words]
    return OverviewExample(
        "Pretrained captioner",
        rng.integers(0, 255, shape, dtype=np.uint8),
        rng.random((side * side, channels)).astype(np.float32),
        {name: rng.dirichlet(np.ones(side * side)) for name in names},
        caption,
        "Motorcycle, left photo of a stereo pair. Scharstein et al., use permitted",
    )


@pytest.mark.parametrize("count", [1, 2])
def test_texts_and_images_do_not_overlap_and_stay_inside(count):
    examples = [make_example(), make_example((200, 100, 3), side=7, caption="a dog")]
    figure = show_overview(examples[:count])
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [artist.get_window_extent(renderer) for artist in (*figure.axes, *figure.texts)]
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
    for first, second in itertools.combinations(boxes, 2):
        assert not first.overlaps(second)


def test_each_column_has_photo_maps_words_caption_and_credit():
    example = make_example()
    figure = show_overview([example])
    texts = [" ".join(text.get_text().split()) for text in figure.texts]
    assert texts[0] == example.title
    assert {*example.attention_weights, example.caption, example.credit} <= set(texts)
    assert "↓ 20 feature maps" in texts
    photo, *maps_and_words = figure.axes
    np.testing.assert_array_equal(photo.images[0].get_array(), example.pixels)
    shown = [axis.images[0].get_array() for axis in maps_and_words[:3]]
    for channel, feature_map in zip(choose_channels(example.features), shown, strict=True):
        np.testing.assert_array_equal(feature_map.ravel(), example.features[:, channel])
    assert len(maps_and_words) == 3 + len(example.attention_weights)


def test_channels_vary_and_differ():
    rng = np.random.default_rng(0)
    features = np.zeros((49, 6))
    features[:, 1] = 5 * rng.standard_normal(49)
    features[:, 2] = 0.9 * features[:, 1]  # a copy, only weaker
    features[:, 3] = -0.8 * features[:, 1]  # as informative as a copy
    features[:, 4] = 2 * rng.standard_normal(49)
    assert choose_channels(features, 2) == [1, 4]
    assert set(choose_channels(features, 3)) <= {1, 2, 3, 4}  # no constant channel


def test_fewer_channels_than_wanted_are_all_shown():
    assert sorted(choose_channels(np.random.default_rng(1).random((49, 2)), 3)) == [0, 1]


def test_figure_is_the_same_when_it_is_saved_again():
    figure = show_overview([make_example(), make_example()])
    first = encode_jpeg(figure)
    assert encode_jpeg(figure) == first
    with Image.open(io.BytesIO(first)) as image:
        assert image.width == round(120 * PAGE_WIDTH)
