"""The gallery in a browser: search, sort order, attention by mouse and keyboard, accessibility."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.chromium import Page
from utils.data.tokenizer import tokenize
from utils.plotting.attention import MAX_OPACITY, overlay_attention
from utils.plotting.gallery import GALLERY_TEMPLATE, write_gallery

HOSTILE = '<script>window.hacked = 1</script> <img src=x onerror="window.hacked = 1"> & "dogs"'
CAPTIONS = ["a dog runs in snow", "two dogs on grass", "a cat sleeps", HOSTILE, "a hotdog"]
SCORES = [0.5, 2.0, 0.1, 1.0, 0.7]
CONFIDENCE = [0.9, 0.2, 0.4, 0.3, 0.5]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The browser for all tests of this file."""
    with Page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """The file of a small gallery, and the attention weights `(tokens, cells)` of each caption."""
    folder = tmp_path_factory.mktemp("gallery")
    rng = np.random.RandomState(0)
    weights = []
    cards = []
    for number, caption in enumerate(CAPTIONS):
        path = folder / f"{number}.png"
        Image.new("RGB", (300, 200), (40 * number, 120, 200)).save(path)
        weights.append(rng.dirichlet(np.ones(49), size=len(tokenize(caption))))
        card = {
            "path": path,
            "caption": caption,
            "references": ["Birds fly .", f"Caption {number} of a person, which is longer"],
            "score": SCORES[number],
            "confidence": CONFIDENCE[number],
            "attention_weights": weights[number],
        }
        cards.append(card)
    write_gallery(folder / "gallery.html", cards, "What & who", "test <b>split</b>")
    return folder / "gallery.html", weights


def visible_captions(page):
    """The captions of the photos that are shown, in their order."""
    return page.run("[...document.querySelectorAll('figure:not([hidden]) img')].map(i => i.alt)")


def enter(page, field, value):
    """Fill in a field of the form, as typing does."""
    page.run(
        f"document.getElementById('{field}').value = '{value}';"
        f"document.getElementById('{field}').dispatchEvent(new Event('input', {{bubbles: true}}))"
    )


def test_gallery_makes_no_request_and_escapes_captions(page, gallery):
    page.open(gallery[0])
    urls = []
    for event in page.events:
        if "request" in event.get("params", {}):
            urls.append(event["params"]["request"]["url"])
    schemes = [url.partition(":")[0] for url in urls if not url.startswith("data:")]
    assert schemes == ["file"]  # the page itself
    assert page.run("window.hacked") is None
    assert page.run("document.title") == "What & who"
    assert HOSTILE in visible_captions(page)
    assert page.run("document.querySelectorAll('main script, main b, header b').length") == 0


def test_gallery_sorts_in_every_order(page, gallery):
    page.open(gallery[0])
    orders = {
        "score,-1": np.argsort(SCORES)[::-1],
        "score,1": np.argsort(SCORES),
        "confidence,-1": np.argsort(CONFIDENCE)[::-1],
        "confidence,1": np.argsort(CONFIDENCE),
        "index,1": range(5),
    }
    assert visible_captions(page) == [CAPTIONS[row] for row in orders["score,-1"]]
    assert page.run("[...document.querySelectorAll('option')].map(o => o.value)") == list(orders)
    for value, rows in reversed(orders.items()):
        enter(page, "order", value)
        assert visible_captions(page) == [CAPTIONS[row] for row in rows]


@pytest.mark.parametrize(
    ("query", "min_score", "max_score", "rows"),
    [
        ("dog", "", "", [1, 3, 0]),  # prefixes of words, in captions and references
        ("DOG snow", "", "", [0]),
        ("longer", "0.6", "1.5", [3, 4]),
        ("", "2", "", [1]),
        ("", "", "0.1", [2]),
        ("zebra", "", "", []),
        ("confidence cider", "", "", []),  # labels of the page are not searched
    ],
)
def test_gallery_filters_by_words_and_scores(page, gallery, query, min_score, max_score, rows):
    page.open(gallery[0])
    for field, value in (("query", query), ("minScore", min_score), ("maxScore", max_score)):
        enter(page, field, value)
    assert visible_captions(page) == [CAPTIONS[row] for row in rows]
    assert page.run("document.getElementById('count').value") == f"{len(rows)} of 5 photos"


def test_gallery_filters_by_confidence(page, gallery):
    page.open(gallery[0])
    threshold = sorted(CONFIDENCE)[2]
    enter(page, "minConfidence", 100 * threshold)
    shown = visible_captions(page)
    assert len(shown) == 3
    assert set(shown) == {CAPTIONS[row] for row in range(5) if CONFIDENCE[row] >= threshold}


def test_gallery_without_confidence_shows_no_percentage_and_no_filter(page, gallery, tmp_path):
    cards = []
    for number in range(2):
        card = {
            "path": gallery[0].with_name(f"{number}.png"),
            "caption": CAPTIONS[number],
            "references": [],
            "score": SCORES[number],
            "confidence": None,
            "attention_weights": np.zeros((0, 0)),
        }
        cards.append(card)

    def shown():
        """The line below each caption, the visible filters, and the ways to sort."""
        page.open(tmp_path / "page.html")
        lines = page.run("[...document.querySelectorAll('.score')].map(s => s.textContent)")
        labels = page.run(
            "[...document.querySelectorAll('label')].filter(l => l.checkVisibility())"
            ".map(l => l.textContent.trim().split(' ')[0])"
        )
        options = page.run("[...document.querySelectorAll('option')].map(o => o.value)")
        return lines, labels, options

    write_gallery(tmp_path / "page.html", cards, "Two", "")
    orders = ["score,-1", "score,1", "index,1"]
    expected = ["CIDEr-D 2.00", "CIDEr-D 0.50"], ["Search", "Sort", "Score", "to"], orders
    assert shown() == expected

    cards[0]["confidence"] = 0.25
    write_gallery(tmp_path / "page.html", cards, "Two", "")
    lines, labels, options = shown()
    assert lines == ["CIDEr-D 2.00", "CIDEr-D 0.50, confidence 25 %"]
    assert labels[-1] == "Confidence"
    assert "confidence,-1" in options
    enter(page, "minConfidence", 50)
    assert visible_captions(page) == [CAPTIONS[1]]  # the other one is below 50 %


def shown_attention(page):
    """The active token, its photo's caption, the slider's text, and the most opaque cell."""
    return page.run(
        """(() => {
        const canvas = document.querySelector("canvas");
        const pixels = canvas.getContext("2d").getImageData(0, 0, 7, 7).data;
        const alphas = [...Array(49).keys()].map(cell => pixels[4 * cell + 3]);
        const figure = canvas.closest("figure");
        return [document.querySelector(".active").textContent, figure.querySelector("img").alt,
                figure.querySelector("input").ariaValueText, alphas.indexOf(Math.max(...alphas))];
        })()"""
    )


def test_attention_follows_keyboard_and_mouse(page, gallery):
    path, weights = gallery
    page.open(path)
    best = int(np.argmax(SCORES))
    tokens = tokenize(CAPTIONS[best])
    page.run("document.querySelector('figure input').focus()")
    for position in (0, 1):
        page.press("ArrowRight", 39)
        cell = int(weights[best][position].argmax())
        assert shown_attention(page) == [tokens[position], CAPTIONS[best], tokens[position], cell]

    # The third token of the second photo, which is the one with the hostile caption.
    x, y = page.run(
        "(box => [box.x + box.width / 2, box.y + box.height / 2])"
        "(document.querySelectorAll('figure')[1].querySelectorAll('.caption span')[2]"
        ".getBoundingClientRect())"
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    token = tokenize(HOSTILE)[2]
    cell = int(weights[CAPTIONS.index(HOSTILE)][2].argmax())
    assert shown_attention(page) == [token, HOSTILE, token, cell]


LANGUAGES = ["女の子が橋を渡る", "कुत्ता घास पर है", "a dog's ball"]


@pytest.fixture(scope="module")
def gallery_of_languages(tmp_path_factory):
    """A gallery whose captions are in several scripts."""
    folder = tmp_path_factory.mktemp("languages")
    Image.new("RGB", (30, 20)).save(folder / "photo.png")
    cards = []
    for caption in LANGUAGES:
        card = {
            "path": folder / "photo.png",
            "caption": caption,
            "references": [],
            "score": 1.0,
            "confidence": 0.5,
            "attention_weights": np.ones((len(tokenize(caption)), 49)),
        }
        cards.append(card)
    write_gallery(folder / "gallery.html", cards, "Languages", "")
    return folder / "gallery.html"


def test_each_token_of_any_script_has_its_attention(page, gallery_of_languages):
    page.open(gallery_of_languages)
    texts = page.run("[...document.querySelectorAll('.caption')].map(p => p.textContent)")
    assert texts == LANGUAGES
    for number, caption in enumerate(LANGUAGES):
        spans = f"document.querySelectorAll('.caption')[{number}].children"
        assert page.run(f"[...{spans}].map(span => span.textContent)") == tokenize(caption)
        maximum = page.run(f"document.querySelectorAll('figure > input')[{number}].max")
        assert maximum == str(len(tokenize(caption)))


@pytest.mark.parametrize(
    ("query", "rows"),
    [("橋", [0]), ("कुत्ता", [1]), ("त्ता", []), ("dog's", [2]), ("og", [])],
)
def test_gallery_finds_words_of_any_script(page, gallery_of_languages, query, rows):
    page.open(gallery_of_languages)
    enter(page, "query", query.replace("'", "\\'"))
    assert visible_captions(page) == [LANGUAGES[row] for row in rows]


def test_captioner_without_attention_has_no_slider(page, gallery, tmp_path):
    card = {
        "path": gallery[0].with_name("0.png"),
        "caption": "",
        "references": [],
        "score": 0.0,
        "confidence": 0.1,
        "attention_weights": np.zeros((0, 0)),
    }
    write_gallery(tmp_path / "page.html", [card], "One", "")
    page.open(tmp_path / "page.html")
    assert page.run("document.querySelectorAll('figure').length") == 1
    assert page.run("document.querySelectorAll('figure input').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_gallery_fits_the_window_and_is_accessible(page, gallery, width, scheme):
    page.open(gallery[0], width, scheme)
    assert page.run("document.documentElement.scrollWidth") <= width
    page.run("document.querySelector('figure input').value = 1")
    page.run("document.querySelector('figure input').dispatchEvent(new Event('input'))")
    assert page.accessibility_violations() == []


def test_accessibility_check_finds_violations(page, tmp_path):
    (tmp_path / "bad.html").write_text("<html><p style='color:#ddd'>pale</p><img src='data:,'>")
    page.open(tmp_path / "bad.html")
    violations = page.accessibility_violations()
    rules = {re.match(r"[a-z-]+", violation)[0] for violation in violations}
    assert {"color-contrast", "image-alt", "html-has-lang"} <= rules


def test_heatmap_has_the_colors_of_the_figures():
    template = GALLERY_TEMPLATE.read_text(encoding="utf-8")
    colors = json.loads(re.search(r"COLORS = (\[\[.*\]\]);", template)[1])
    heat = np.linspace(0, 1, len(colors))
    weights = np.repeat(heat, len(colors))  # a square grid
    panel = overlay_attention(np.zeros((5, 5, 3), np.uint8), weights)
    opacity = MAX_OPACITY * heat[:, None]
    np.testing.assert_allclose(panel[:, 0], opacity * colors, atol=1.5)
    assert float(re.search(r"MAX_OPACITY = ([\d.]+)", template)[1]) == MAX_OPACITY
