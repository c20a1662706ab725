"""The fonts of PDF documents: which of the shipped ones a text needs, and what no font has."""

import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path

from fontTools.ttLib import TTFont

REGULAR, BOLD = "NotoSans-Regular", "NotoSans-Bold"
CJK_PREFIX = "wqy-microhei-"
"""Chinese, Japanese and Korean, in parts; asked last, since they are the largest."""


def font_path(name: str) -> Path:
    """Return the file of a shipped font."""
    return Path(str(resources.files("streamsvc") / "data" / "fonts" / f"{name}.ttf"))


@cache
def list_fallback_fonts() -> tuple[str, ...]:
    """List the fonts for letters that Noto Sans does not have."""
    names = {path.stem for path in font_path(REGULAR).parent.glob("*.ttf")} - {REGULAR, BOLD}
    return tuple(sorted(names, key=lambda name: (name.startswith(CJK_PREFIX), name)))


@cache
def load_coverage(name: str) -> frozenset[int]:
    """Return the code points that a font has."""
    with TTFont(font_path(name), lazy=True) as font:
        return frozenset(font.getBestCmap())


@cache
def find_font(letter: str) -> str | None:
    """Return the first font that has the letter; None if none has."""
    return next((name for name in (REGULAR, *list_fallback_fonts()) if ord(letter) in load_coverage(name)), None)


def to_printable(text: str) -> str:
    """Return the text in letters that the fonts have: what none has is shown as its code point, such as `[U+1F600]`.

    Letters with accents are composed; characters that have no shape of their own, such as marks of direction, are
    removed, except the joiners that some scripts need.
    """
    return "".join(_to_printable_letter(letter) for letter in unicodedata.normalize("NFC", text))


def _to_printable_letter(letter: str) -> str:
    category = unicodedata.category(letter)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    if category == "Cf" and letter not in "\u200c\u200d":
        return ""
    return letter if find_font(letter) else f"[U+{ord(letter):04X}]"


def list_needed_fonts(texts: Iterable[str]) -> list[str]:
    """List the fallback fonts that these printable texts need."""
    found = {find_font(letter) for text in texts for letter in set(text)}
    return [name for name in list_fallback_fonts() if name in found]
