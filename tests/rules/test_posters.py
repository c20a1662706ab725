"""Drawn posters: the same for the same title, well-formed whatever the title is, and nothing in them can run."""

from hashlib import sha256

import pytest
from defusedxml.ElementTree import fromstring

from streamsvc.rules.catalog.posters import MAX_LINES, draw_poster, wrap_title

TITLES = [
    "Up",
    "Colour Bars",
    "<script>alert('x')</script> & \"more\"",
    "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb",
    "千と千尋の神隠し",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "مدينة",
    "a" * 500,
    "\x00\x1b\ud800 odd",
    "",
]


@pytest.mark.parametrize("title", TITLES, ids=range(len(TITLES)))
def test_a_poster_is_well_formed_and_runs_nothing(title):
    svg = draw_poster(title, "1999 <&>")
    root = fromstring(svg.encode())
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    allowed = {"svg", "defs", "linearGradient", "stop", "rect", "g", "circle", "path", "text", "tspan"}
    assert tags <= allowed
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name]
    assert len(svg) < 3000


def test_a_poster_follows_from_its_title_and_its_year():
    assert draw_poster("Vertigo", "1958") == draw_poster("Vertigo", "1958")
    assert len({draw_poster("Vertigo", year).partition("aria-label")[2][20:] for year in ("1958", "2001", "")}) == 3


def test_posters_are_drawn_as_before():
    """All four patterns, since posters are cached for long. Whoever changes the drawings changes the digest too."""
    posters = "".join(draw_poster(str(number), "1958") for number in range(64))
    assert sha256(posters.encode()).hexdigest()[:16] == "fae938534f3c7ec4"


def test_long_titles_are_broken_at_spaces_and_cut():
    assert wrap_title("The Lord of the Rings", 12) == ["The Lord of", "the Rings"]
    assert wrap_title("abcdefgh", 3) == ["abc", "def", "gh"]
    assert wrap_title("千と千尋", 4) == ["千と", "千尋"]
    lines = wrap_title("one two three four five six seven eight nine", 5)
    assert len(lines) == MAX_LINES and lines[-1].endswith("…")
    words = [letter * 5 for letter in "abcdefghij"]
    assert wrap_title(" ".join(words), 5) == [*words[: MAX_LINES - 1], words[MAX_LINES - 1][:4] + "…"]
