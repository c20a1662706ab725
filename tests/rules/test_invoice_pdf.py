"""The PDF writer: where each text stands, in which font, and on which page."""

import re

from streamsvc.rules.billing.invoice_pdf import HEIGHT, LEADING, MARGIN, render_pdf

TOP, LINES_PER_PAGE = HEIGHT - MARGIN, 46


def pages(*rows):
    """The texts of each page, as (font, size, x, y, text)."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", render_pdf(rows, "An invoice"), re.DOTALL)
    shown = re.compile(r"BT /F(\d) (\d+) Tf ([\d.]+) (\d+) Td \((.*)\) Tj ET")
    return [
        [(int(font), int(size), float(x), int(y), text) for font, size, x, y, text in shown.findall(page.decode())]
        for page in streams
    ]


def line(text, x=MARGIN, size=10, bold=False, right=False):
    return [(x, text, size, bold, right)]


def test_rows_stand_below_each_other_and_a_paragraph_half_a_line_lower():
    assert pages(line("first"), line("second", bold=True), None, line("third", size=8)) == [
        [
            (1, 10, MARGIN, TOP, "first"),
            (2, 10, MARGIN, TOP - LEADING, "second"),
            (1, 8, MARGIN, TOP - 2 * LEADING - LEADING // 2, "third"),
        ]
    ]


def test_a_right_aligned_text_ends_at_its_position():
    [[left, right]] = pages([*line("12345", x=300), *line("12345", x=300, right=True)])
    assert (left[2], right[2]) == (300, 272.2)
    assert left[3] == right[3]


def test_a_full_page_is_followed_by_another_only_if_there_is_more():
    rows = [line(f"line {n}") for n in range(LINES_PER_PAGE + 1)]
    [only] = pages(*rows[:-1])
    assert (len(only), only[-1][3]) == (LINES_PER_PAGE, 66)
    first, second = pages(*rows)
    assert (first, second) == (only, [(1, 10, MARGIN, TOP, "line 46")])


def test_a_text_cannot_end_its_string():
    [[shown]] = pages(line(r"a) (b\ "))
    assert shown[4] == r"a\) \(b\\ "
