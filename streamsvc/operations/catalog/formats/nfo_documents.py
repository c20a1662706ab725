"""Parses NFO files: one or several XML documents, web addresses after them, or only web addresses."""

import re
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from streamsvc.operations.catalog.formats.encodings import BYTE_ORDER_MARKS
from streamsvc.operations.catalog.formats.library import OVERLONG
from streamsvc.rules.catalog.cells import parse_external_id

MAX_DEPTH = 50
_ENCODING = re.compile(rb"^\s*<\?xml[^>]{0,100}?encoding=[\"']([A-Za-z0-9._-]{1,40})[\"']")
_DECLARATION = re.compile(r"<\?[^>]*\?>")
_ROOT = re.compile(r"<([A-Za-z][\w.-]{0,50})[\s>/]")
_LOOSE_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)")
_ADDRESSES = {
    "imdb": re.compile(r"imdb\.com/title/(tt\d{5,10})"),
    "tmdb": re.compile(r"themoviedb\.org/(?:movie|tv)/(\d{1,10})"),
    "tvdb": re.compile(r"thetvdb\.com/(?:dereferrer/\w{1,20}/|(?:index\.php)?\?[^\s]{0,50}?\bid=)(\d{1,10})"),
}  # fmt: skip
_BARE_IMDB_ID = re.compile(r"\s*(tt\d{5,10})\s*")


class InvalidNfo(Exception):
    """An NFO file that cannot be imported, and why."""

    def __init__(self, code: str, reason: str):
        super().__init__(reason)
        self.code = code


class Document(NamedTuple):
    """The content of an NFO file: its XML elements, and the ids in its addresses."""

    roots: list[Element]
    address_ids: dict[str, str]


def parse_nfo(body: bytes) -> Document:
    """Parse an NFO file. Raises InvalidNfo."""
    if body == OVERLONG:
        raise InvalidNfo("too_long", "An NFO file must have at most 1 MiB.")
    text = _decode(body)
    root = _ROOT.search(text)
    if root is None:
        ids = find_address_ids(text)
        if not ids:
            raise InvalidNfo("malformed", "The file has neither XML nor the address of a title at IMDb, TMDB or TVDB.")
        return Document([], ids)
    end = text.rfind(f"</{root[1]}>")
    cut = end + len(root[1]) + 3 if end >= 0 else len(text)
    return Document(_parse_xml(text[:cut]), find_address_ids(text[cut:]))


def find_address_ids(text: str) -> dict[str, str]:
    """Return the ids in the addresses of databases in a text."""
    found = {name: match[1] for name, pattern in _ADDRESSES.items() if (match := pattern.search(text))}
    if not found and (bare := _BARE_IMDB_ID.fullmatch(text[:200])):
        found["imdb"] = parse_external_id("imdb", bare[1])
    return found


def _decode(body: bytes) -> str:
    """Decode by the byte order mark, else by the XML declaration, else as UTF-8, else as Windows-1252."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return body.decode(encoding, errors="replace").removeprefix("\ufeff")
    declared = _ENCODING.match(body[:300])
    for encoding in (declared[1].decode() if declared else "utf-8", "utf-8"):
        try:
            return body.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return body.decode("cp1252", errors="replace")


def _parse_xml(text: str) -> list[Element]:
    """Parse elements that follow one another; an ampersand that begins no reference is taken for one."""
    plain = _DECLARATION.sub(" ", text)
    try:
        root = _parse_wrapped(plain)
    except ParseError as error:
        try:
            root = _parse_wrapped(_LOOSE_AMPERSAND.sub("&amp;", plain))
        except ParseError:
            raise InvalidNfo("malformed", f"The XML is malformed: {error}.") from None
    _check_depth(root)
    return list(root)


def _parse_wrapped(text: str) -> Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InvalidNfo("forbidden", "The XML must not have a DTD or entities.")
    try:
        return ElementTree.fromstring(f"<nfo>{text}</nfo>", forbid_dtd=True)
    except DefusedXmlException:
        raise InvalidNfo("forbidden", "The XML must not have a DTD or entities.") from None
    except (ValueError, LookupError) as error:
        raise InvalidNfo("malformed", f"The XML is malformed: {error}.") from None


def _check_depth(root: Element) -> None:
    level = list(root)
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [child for element in level for child in element]
    raise InvalidNfo("malformed", f"The XML is nested more than {MAX_DEPTH} levels deep.")
