"""Characters that no installed font has are named once, and not one by one."""

import warnings

import pytest
from matplotlib import font_manager, rcParams

from utils.plotting.fonts import FALLBACK_FONTS, use_fallback_fonts, warn_about_missing_characters


@pytest.fixture
def only_own_fonts(monkeypatch):
    """Matplotlib's own font, whatever is installed."""
    monkeypatch.setitem(rcParams, "font.family", ["DejaVu Sans"])


def test_scripts_without_a_font_are_named(only_own_fonts):
    with pytest.warns(UserWarning) as record:
        warn_about_missing_characters("犬が走る a dog")
    scripts = {str(warning.message).split("characters of ")[1].split(":")[0] for warning in record}
    assert scripts == {"Cjk", "Hiragana"}


@pytest.mark.parametrize("text", ["A dog runs.", "Ein Hund läuft.", "Собака бежит", "كلب"])
def test_scripts_of_the_own_font_need_no_warning(only_own_fonts, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about_missing_characters(text)


def test_installed_fallback_fonts_are_used(monkeypatch):
    monkeypatch.setitem(rcParams, "font.family", ["sans-serif"])
    monkeypatch.setattr(font_manager, "get_font_names", lambda: ["Other", FALLBACK_FONTS[3]])
    use_fallback_fonts()
    assert rcParams["font.family"] == ["sans-serif", FALLBACK_FONTS[3]]
