"""The figure of photos with their alt texts: words, layout, and the JPEG."""

import io
import itertools

import matplotlib
import numpy as np
import pytest
from PIL import Image

from utils.data.open_photos import OPEN_PHOTOS
from utils.evaluation.confidence import describe_confidence

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from utils.plotting import alt_texts
from utils.plotting.alt_texts import AltTextCard, choose_words, show_alt_texts
from utils.plotting.style import PAGE_WIDTH, encode_jpeg

LONG = "Possibly a small brown dog that runs through deep white snow beside a man in a red jacket."
WORDS_BY_FREQUENCY = "a in is the dog man red playing two shirt snow frisbee"
WORD_TO_ID = {word: number for number, word in enumerate(WORDS_BY_FREQUENCY.split())}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def cards():
    """Cards of several verdicts, of photos of several shapes, with two words, one, and none."""
    rng = np.random.default_rng(0)
    cards = []
    settings = zip(OPEN_PHOTOS, itertools.cycle(["assert", "hedge", "none"]), strict=False)
    for number, (photo, verdict) in enumerate(settings):
        words = ["snowboarder", "grass"][: number % 3]
        weights = {word: rng.dirichlet(np.ones(81)) for word in words}
        text = LONG if number % 2 else "A dog."
        cards.append(AltTextCard(photo.path, text, verdict, 0.55, weights, photo.credit))
    return cards


# === Words ===


def chosen(caption):
    """The words of a caption that are chosen."""
    tokens = caption.split()
    return [tokens[position] for position in choose_words(tokens, WORD_TO_ID)]


def test_rarest_content_words_are_chosen_in_the_order_of_the_caption():
    assert chosen("a man in a red shirt is playing frisbee") == ["shirt", "frisbee"]
    assert chosen("frisbee in the snow") == ["frisbee", "snow"]


def test_function_words_actions_and_numbers_are_not_chosen():
    assert chosen("two dog is playing in the") == ["dog"]
    assert chosen("a the in two playing") == []
    assert chosen("") == []


def test_repeated_word_is_chosen_once_at_its_first_position():
    tokens = ["a", "snow", "in", "a", "snow", "dog", "dog"]
    assert choose_words(tokens, WORD_TO_ID) == [1, 5]


def test_word_that_the_vocabulary_lacks_is_chosen_last():
    assert chosen("zebra man dog") == ["man", "dog"]


# === The figure ===


def test_every_verdict_has_a_name_in_the_figure():
    verdicts = {describe_confidence(value) for value in np.linspace(0, 1, 101)}
    assert verdicts == set(alt_texts.VERDICTS)


def test_texts_and_panels_of_the_cards_do_not_overlap_and_stay_inside(cards):
    figure = show_alt_texts(cards)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    for axis in figure.axes:
        boxes.append(axis.get_window_extent(renderer))
        if axis.get_title(loc="left"):
            boxes.append(axis._left_title.get_window_extent(renderer))
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
    for first, second in itertools.combinations(boxes, 2):
        assert not first.overlaps(second)


def test_each_card_has_verdict_confidence_text_words_and_credit(cards):
    figure = show_alt_texts(cards)
    texts = [" ".join(text.get_text().split()) for text in figure.texts]
    assert len(texts) == 3 * len(cards)
    panels = iter(figure.axes)
    for number, card in enumerate(cards):
        verdict, text, credit = texts[3 * number : 3 * number + 3]
        assert verdict == f"{alt_texts.VERDICTS[card.verdict][0]} · confidence 55%"
        assert (text, credit) == (card.text, card.credit)
        titles = [
            next(panels).get_title(loc="left") for _ in range(1 + len(card.attention_weights))
        ]
        assert titles == ["", *card.attention_weights]
    assert next(panels, None) is None


def test_card_without_a_confidence_says_that_it_is_unknown(cards):
    figure = show_alt_texts([cards[1]._replace(confidence=None)])
    assert figure.texts[0].get_text() == "hedged · confidence unknown"


def test_photos_keep_their_proportions(cards):
    figure = show_alt_texts(cards)
    figure.canvas.draw()
    for axis in figure.axes:
        height, width = axis.images[0].get_array().shape[:2]
        box = axis.get_window_extent()
        assert box.height / box.width == pytest.approx(height / width, rel=0.05)


def test_figure_is_a_small_jpeg_in_a_notebook(cards):
    data = encode_jpeg(show_alt_texts(cards))
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        assert image.width == round(120 * PAGE_WIDTH)
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[:, -1] > 240).all()  # a light background
    assert len(data) < 40_000 * len(cards)
