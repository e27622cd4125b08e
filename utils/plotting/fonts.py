"""Fonts for captions in any script: those that are installed, and a notice where none is."""

import unicodedata
import warnings
from functools import lru_cache

from matplotlib import font_manager, rcParams

# Matplotlib's own font lacks these scripts. Those of Linux and Colab, macOS, and Windows:
FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Thai",
    "Noto Sans Arabic",
    "Hiragino Sans",
    "PingFang SC",
    "Devanagari MT",
    "Arial Unicode MS",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Nirmala UI",
    "Leelawadee UI",
)


def use_fallback_fonts() -> None:
    """Draw characters that Matplotlib's own font lacks with the installed fonts that have them."""
    installed = set(font_manager.get_font_names())
    fallbacks = [name for name in FALLBACK_FONTS if name in installed]
    rcParams["font.family"] = ["sans-serif", *fallbacks]
    # One line of `warn_about_missing_characters` replaces a warning for each character.
    warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)


@lru_cache(maxsize=1)
def drawable_characters(families: tuple[str, ...]) -> frozenset[int]:
    """The code points that at least one of these font families has."""
    characters: set[int] = set()
    for family in families:
        properties = font_manager.FontProperties(family=[family])
        font = font_manager.get_font(font_manager.findfont(properties))
        characters.update(font.get_charmap())
    return frozenset(characters)


def warn_about_missing_characters(text: str) -> None:
    """Warn if a text will be drawn with boxes in place of characters.

    Python shows the same warning of the same line once in a process.
    """
    available = drawable_characters(tuple(rcParams["font.family"]))
    missing = [character for character in text if ord(character) not in available]
    scripts = {unicodedata.name(character, "").partition(" ")[0] for character in missing}
    for script in sorted(scripts - {""}):
        warnings.warn(
            f"no installed font has the characters of {script.title()}: figures show boxes: "
            "install one, such as Noto Sans, and restart the kernel",
            stacklevel=2,
        )
