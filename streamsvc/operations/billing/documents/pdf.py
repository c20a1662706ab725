"""Invoices and credit notes as PDF/A-3 files, in every script; with the XML of EN 16931 inside if it is complete."""

import logging
import pickle
from dataclasses import fields
from datetime import UTC, datetime, time
from functools import lru_cache

from facturx import generate_from_binary
from fpdf import FPDF
from fpdf.enums import TextEmphasis, XPos, YPos
from fpdf.fonts import FontFace

from streamsvc.operations.billing.documents import fonts
from streamsvc.operations.billing.documents.content import Document
from streamsvc.operations.billing.documents.einvoice import find_missing_data, render_xml
from streamsvc.operations.billing.documents.texts import DocumentTexts, LineTexts, document_texts

MARGIN_MM, LINE_MM = 18, 5
TITLE_PT, TEXT_PT, SMALL_PT = 16, 9, 7.5
COLUMNS = ("description", "quantity", "net", "tax_rate", "tax", "gross")
COLUMN_WIDTHS = (60, 17, 26, 18, 24, 29)
FAMILY = "Noto"

logging.getLogger("fontTools").setLevel(logging.ERROR)
logging.getLogger("fpdf").setLevel(logging.ERROR)


def render_pdf(document: Document) -> bytes:
    """Render the document as a PDF/A-3 file in the customer's language. Recent ones are cached: it takes a second."""
    return _render_pickled(pickle.dumps(document))


@lru_cache(maxsize=64)
def _render_pickled(pickled: bytes) -> bytes:
    document: Document = pickle.loads(pickled)
    texts = document_texts(document)
    pdf = _InvoicePdf(texts, document)
    pdf.add_document()
    data = bytes(pdf.output())
    if find_missing_data(document):
        return data
    metadata = {name: pdf_text for name, pdf_text in _metadata(texts, document).items() if pdf_text}
    combined: bytes = generate_from_binary(
        data,
        render_xml(document),
        flavor="factur-x",
        level="en16931",
        check_xsd=False,
        pdf_metadata=metadata,
        lang=texts.language,
    )
    return combined


def _metadata(texts: DocumentTexts, document: Document) -> dict[str, str]:
    return {
        "author": document.seller.get("name") or "",
        "title": texts.title,
        "subject": texts.title,
        "keywords": "Factur-X",
    }


class _InvoicePdf(FPDF):
    """One document on as many A4 pages as it needs."""

    def __init__(self, texts: DocumentTexts, document: Document):
        super().__init__(enforce_compliance="PDF/A-3B")
        self.texts = texts
        self.set_title(texts.title)
        self.set_lang(texts.language)
        self.set_author(document.seller.get("name") or "streamsvc")
        self.set_creation_date(datetime.combine(document.issued_on, time(), UTC))
        self.set_margin(MARGIN_MM)
        self.set_auto_page_break(True, MARGIN_MM)
        self.add_font(FAMILY, "", fonts.font_path(fonts.REGULAR))
        self.add_font(FAMILY, "B", fonts.font_path(fonts.BOLD))
        fallback = fonts.list_needed_fonts(map(fonts.to_printable, _all_texts(texts)))
        for name in fallback:
            self.add_font(name, "", fonts.font_path(name))
        self.set_fallback_fonts(fallback, exact_match=False)
        self.set_text_shaping(True)

    def set_font(self, family: str | None = None, style: str | TextEmphasis = "", size: float = 0) -> None:
        """Select a font, and write so into the page at once.

        fpdf2 does so with the next text, and loses it where that begins with a fallback font.
        """
        super().set_font(family, style, size)
        if self.page and not self.current_font_is_set_on_page:
            self.text(MARGIN_MM, MARGIN_MM, " ")

    def footer(self) -> None:
        """Print the title and the page number below each page."""
        self.set_y(-MARGIN_MM + LINE_MM)
        self.set_font(FAMILY, "", SMALL_PT)
        self.cell(0, LINE_MM, fonts.to_printable(f"{self.texts.title} · {self.texts.labels['page']} {self.page_no()}"))

    def add_document(self) -> None:
        """Print everything from the seller to the notes."""
        texts = self.texts
        self.add_page()
        self.add_lines(texts.seller, "R")
        self.ln(LINE_MM)
        self.add_lines([texts.title], style="B", size_pt=TITLE_PT)
        self.ln(LINE_MM / 2)
        self.add_lines(texts.customer)
        self.ln(LINE_MM)
        self.add_lines([f"{name}: {value}" for name, value in texts.facts])
        self.ln(LINE_MM)
        self.add_line_table()
        self.add_sums()
        self.ln(LINE_MM)
        self.add_lines(texts.notes)

    def add_lines(self, lines: list[str], align: str = "L", style: str = "", size_pt: float = TEXT_PT) -> None:
        """Print lines of text below each other."""
        self.set_font(FAMILY, style, size_pt)
        for line in lines:
            height = LINE_MM * size_pt / TEXT_PT
            self.multi_cell(0, height, fonts.to_printable(line), align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def add_line_table(self) -> None:
        """Print the lines; the headings are repeated on each page."""
        self.set_font(FAMILY, "", SMALL_PT + 0.5)
        aligns = ("LEFT", *["RIGHT"] * (len(COLUMNS) - 1))
        with self.table(
            col_widths=COLUMN_WIDTHS,
            text_align=aligns,
            borders_layout="HORIZONTAL_LINES",
            headings_style=FontFace(emphasis="BOLD"),
            line_height=LINE_MM,
            padding=1,
        ) as table:
            table.row([fonts.to_printable(self.texts.labels[name]) for name in COLUMNS])
            for line in self.texts.lines:
                table.row(list(map(_cell_text, _line_cells(line))))

    def add_sums(self) -> None:
        """Print the totals below the amounts."""
        self.set_font(FAMILY, "", TEXT_PT)
        with self.table(
            col_widths=(130, 44),
            text_align=("RIGHT", "RIGHT"),
            borders_layout="NONE",
            first_row_as_headings=False,
            line_height=LINE_MM,
        ) as table:
            for name, amount in self.texts.sums:
                table.row([fonts.to_printable(name), fonts.to_printable(amount)])


def _line_cells(line: LineTexts) -> list[str]:
    description = "\n".join([line.description, *line.details])
    return [description, line.quantity, line.net, line.tax_rate, line.tax, line.gross]


def _cell_text(text: str) -> str:
    return "\n".join(map(fonts.to_printable, text.split("\n")))


def _all_texts(texts: DocumentTexts) -> list[str]:
    """Return every text of the document, to see which fonts it needs."""
    found = [texts.title, *texts.labels.values(), *texts.seller, *texts.customer, *texts.notes]
    found += [text for pair in [*texts.facts, *texts.sums] for text in pair]
    for line in texts.lines:
        found += [getattr(line, field.name) for field in fields(line) if field.name != "details"] + line.details
    return found
