"""Posters of titles without artwork: the same SVG for the same title, in colours and shapes that follow from it.

The text is escaped, and the image contains no script, style sheet or link, so it is safe wherever it is shown.
"""

import hashlib
import unicodedata
from html import escape

WIDTH, HEIGHT, MARGIN = 300, 450, 24
MAX_LINES, MAX_TITLE_LENGTH = 6, 120
FONT_SIZES = ((12, 44), (24, 36), (48, 30), (MAX_TITLE_LENGTH, 25))
"""(longest title, font size) in order."""
LETTER_WIDTH = 0.56
"""The width of a letter as a part of the font size, on average; a wide East Asian one has twice as much."""


def draw_poster(title: str, caption: str) -> str:
    """Return an SVG with a title and a line below it, such as the year."""
    text = "".join(c for c in title[:MAX_TITLE_LENGTH] if c.isprintable())
    digest = hashlib.sha256(f"{title}/{caption}".encode("utf-8", "replace")).digest()
    size = next(size for longest, size in FONT_SIZES if _width(text) <= longest or size == FONT_SIZES[-1][1])
    lines = wrap_title(text, (WIDTH - 2 * MARGIN) / (size * LETTER_WIDTH))
    first_y = HEIGHT - MARGIN - 30 - (len(lines) - 1) * size * 1.12
    spans = "".join(
        f'<tspan x="{MARGIN}" y="{first_y + i * size * 1.12:.0f}">{escape(line)}</tspan>'
        for i, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(text)}">'
        f"{_background(digest)}{_shapes(digest)}"
        f'<rect y="{HEIGHT * 0.45:.0f}" width="{WIDTH}" height="{HEIGHT * 0.55:.0f}" fill="url(#shade)"/>'
        f'<g fill="#fff" font-family="system-ui,sans-serif"><text font-size="{size}" font-weight="700">{spans}</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - MARGIN}" font-size="18" fill-opacity=".8">{escape(caption)}</text></g></svg>'
    )


def wrap_title(title: str, letters_per_line: float) -> list[str]:
    """Return the lines of a title, broken at spaces, else anywhere; what does not fit ends in an ellipsis."""
    lines: list[str] = []
    for word in title.split():
        if lines and _width(f"{lines[-1]} {word}") <= letters_per_line:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and _width(lines[-1] + letter) > letters_per_line:
                lines.append("")
            lines[-1] += letter
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], lines[MAX_LINES - 1][:-1] + "…"]
    return lines


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _background(digest: bytes) -> str:
    hue = digest[0] * 360 // 256
    other = (hue + 30 + digest[1] % 60) % 360
    return (
        f'<defs><linearGradient id="sky" x2=".6" y2="1"><stop stop-color="hsl({hue} 55% 42%)"/>'
        f'<stop offset="1" stop-color="hsl({other} 60% 16%)"/></linearGradient>'
        '<linearGradient id="shade" x2="0" y2="1"><stop stop-opacity="0"/><stop offset="1" stop-opacity=".6"/>'
        f'</linearGradient></defs><rect width="{WIDTH}" height="{HEIGHT}" fill="url(#sky)"/>'
    )


def _shapes(digest: bytes) -> str:
    """Return one of four patterns: discs, stripes, rays or hills."""
    a, b, c = (value / 255 for value in digest[3:6])
    x, y = WIDTH * (0.2 + 0.6 * a), HEIGHT * (0.15 + 0.25 * b)
    match digest[2] % 4:
        case 0:
            inner = "".join(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{r:.0f}"/>' for r in (40, 80 + 30 * c, 150 + 40 * c))
        case 1:
            inner = "".join(
                f'<path d="M{offset:.0f} 0h{18 + 22 * c:.0f}L{offset - 120 * b:.0f} {HEIGHT}h-40z"/>'
                for offset in range(int(60 * a), WIDTH + 160, 80)
            )
        case 2:
            ends = [(0, 0), (WIDTH / 2, -40), (WIDTH, 0), (WIDTH + 40, HEIGHT / 2), (WIDTH, HEIGHT), (0, HEIGHT)]
            inner = "".join(f'<path d="M{x:.0f} {y:.0f}L{u:.0f} {v:.0f}l{36 + 30 * c:.0f} 24z"/>' for u, v in ends)
            inner += f'<circle cx="{x:.0f}" cy="{y:.0f}" r="34"/>'
        case _:
            inner = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{32 + 24 * c:.0f}"/>' + "".join(
                f'<path d="M0 {top:.0f}Q{WIDTH * bend:.0f} {top - 90:.0f} {WIDTH} {top + 30 * a:.0f}V{HEIGHT}H0z"/>'
                for top, bend in ((HEIGHT * 0.5, a), (HEIGHT * 0.6, b))
            )
    return f'<g fill="#fff" fill-opacity=".13">{inner}</g>'
