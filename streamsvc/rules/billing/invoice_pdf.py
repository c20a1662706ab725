"""A minimal PDF writer for text in columns: A4, Helvetica, as many pages as needed.

The standard fonts of PDF cover Latin letters only; others are written without their accents or as `?`. The HTML and
JSON of the same invoice have every letter.
"""

import unicodedata
from collections.abc import Iterable, Sequence

WIDTH, HEIGHT, MARGIN, LEADING = 595, 842, 56, 16
DIGIT_WIDTH = 0.556
"""The width of a digit in Helvetica, as a fraction of the font size; close enough for all right-aligned text."""


Row = Sequence[tuple[float, str, int, bool, bool]]


def to_latin(text: str) -> str:
    """Return the text in the letters that the standard fonts have."""
    letters = []
    for letter in unicodedata.normalize("NFC", text):
        if not _is_encodable(letter):
            parts = unicodedata.normalize("NFKD", letter)
            letter = "".join(part for part in parts if _is_encodable(part)) or "?"
        letters.append(letter)
    return "".join(letters)


def _is_encodable(letter: str) -> bool:
    try:
        letter.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return letter.isprintable()


def render_pdf(rows: Iterable[Row | None], title: str) -> bytes:
    """Render the rows as a PDF file.

    Each row is a list of (x, text, size, bold, right-aligned); None starts a new paragraph.
    """
    pages: list[list[str]] = []
    commands: list[str] = []
    y = HEIGHT - MARGIN
    for row in rows:
        if y < MARGIN:
            pages.append(commands)
            commands, y = [], HEIGHT - MARGIN
        for x, text, size, bold, right in row or ():
            text = to_latin(text)
            left = x - (len(text) * size * DIGIT_WIDTH if right else 0)
            commands.append(f"BT /F{2 if bold else 1} {size} Tf {left:.1f} {y} Td ({_escape(text)}) Tj ET")
        y -= LEADING if row else LEADING // 2
    pages.append(commands)
    return _build_document(pages, to_latin(title))


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _build_document(pages: list[list[str]], title: str) -> bytes:
    """Build the objects of the file: catalog, page tree, two fonts, title, then each page and its content."""
    kids = " ".join(f"{6 + 2 * i} 0 R" for i in range(len(pages)))
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /{} /Encoding /WinAnsiEncoding >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        font.format("Helvetica"),
        font.format("Helvetica-Bold"),
        f"<< /Title ({_escape(title)}) >>",
    ]
    for i, commands in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Contents {7 + 2 * i} 0 R"
            " /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>"
        )
        stream = "\n".join(commands)
        objects.append(f"<< /Length {len(stream.encode('cp1252'))} >>\nstream\n{stream}\nendstream")
    return _assemble_file(objects)


def _assemble_file(objects: list[str]) -> bytes:
    """Return the bytes of the file: header, objects, cross-reference table, trailer."""
    out, offsets = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("cp1252")
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start, size = len(out), len(objects) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n{table}".encode()
    return out + f"trailer\n<< /Size {size} /Root 1 0 R /Info 5 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
