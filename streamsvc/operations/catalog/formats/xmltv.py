"""XMLTV: channels and their programmes.

A guide may mix the programmes of all channels, but each channel's are replaced at once. So they are first put aside in
a temporary database on disk, which sorts them, whatever the size of the file.

The parser is expat, which reads no external entity; a file that declares any entity is refused. An entry's number is
that of its element, since a whole guide may be a single line; rejections name the line.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any, BinaryIO
from xml.parsers import expat

from streamsvc.operations.catalog.formats import FileEntry, FileTooLarge, GuideEntry, channel_entry, rejected_entry
from streamsvc.rules.catalog.programmes import Airing, build_schedule, decode_programme, encode_programme
from streamsvc.rules.catalog.record import InvalidRecord
from streamsvc.rules.catalog.xmltv import Element, parse_channel, parse_programme

BLOCK_BYTES = 64 * 1024
MAX_TOKEN_BYTES = 1 << 20
"""Of a tag or a comment: the parser holds it in memory."""
MAX_ELEMENT_CHARACTERS, MAX_ELEMENT_NODES, MAX_DEPTH = 200_000, 2_000, 20
MAX_PROGRAMMES = 500_000
MAX_PROGRAMMES_OF_CHANNEL = 10_000


class GuideMalformed(Exception):
    """The file cannot be read any further; the message says why."""


class _Node:
    """An element whose end has not been read."""

    def __init__(self, tag: str, attributes: dict[str, str], line: int):
        self.tag, self.attributes, self.line = tag, attributes, line
        self.text: list[str] = []
        self.children: list[Element] = []

    def close(self) -> Element:
        return Element(self.tag, self.attributes, "".join(self.text), self.children, self.line)


class _ElementReader:
    """Collects the elements below the root."""

    def __init__(self) -> None:
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._add_text
        parser.EntityDeclHandler = self._refuse_entity
        self.open: list[_Node] = []
        self.done: list[Element] = []
        self.characters = self.nodes = self.bytes_fed = 0

    def feed(self, block: bytes) -> None:
        """Read a block, and add the elements that end in it to `done`; an empty one is the end of the file.

        Raises GuideMalformed, after the elements before the error.
        """
        self.bytes_fed += len(block)
        try:
            self.parser.Parse(block, not block)
        except (expat.ExpatError, ValueError, LookupError) as error:  # the latter for an unknown encoding
            raise GuideMalformed(f"The file is not well-formed XML from here on: {error}.") from None
        if self.bytes_fed - self.parser.CurrentByteIndex > MAX_TOKEN_BYTES + BLOCK_BYTES:
            raise GuideMalformed(f"A tag must have at most {MAX_TOKEN_BYTES} bytes.")

    def take_done(self) -> list[Element]:
        """Return the elements that have been read, and forget them."""
        done, self.done = self.done, []
        return done

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.open and tag != "tv":
            raise GuideMalformed(f"The root must be `tv`, not `{tag[:50]}`.")
        if len(self.open) >= MAX_DEPTH:
            raise GuideMalformed("The elements are nested too deeply.")
        if len(self.open) == 1:
            self.characters = self.nodes = 0
        self.nodes += 1
        self.characters += sum(map(len, attributes.values()))
        self._check_size()
        self.open.append(_Node(tag, attributes, self.parser.CurrentLineNumber))

    def _end(self, tag: str) -> None:
        element = self.open.pop().close()
        if len(self.open) == 1:
            self.done.append(element)
        elif self.open:
            self.open[-1].children.append(element)

    def _add_text(self, text: str) -> None:
        if len(self.open) > 1:
            self.characters += len(text)
            self._check_size()
            self.open[-1].text.append(text)

    def _check_size(self) -> None:
        if self.characters > MAX_ELEMENT_CHARACTERS or self.nodes > MAX_ELEMENT_NODES:
            raise GuideMalformed("A channel or a programme is too large.")

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise GuideMalformed(f"The file must not declare entities, such as {name[:50]!r}.")


def read_xmltv(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Yield the channels of a guide, the errors, and then the programmes of each channel as one entry."""
    return _read_guide(file, after, with_channels=True)


def read_xmltv_programmes(file: BinaryIO, after: int = 0) -> Iterator[FileEntry]:
    """Yield the programmes of a guide, and errors; its channels create none."""
    return _read_guide(file, after, with_channels=False)


def _read_guide(file: BinaryIO, after: int, with_channels: bool) -> Iterator[FileEntry]:
    with closing(sqlite3.connect("")) as aside:  # a temporary database on disk, which ends with the connection
        aside.execute("CREATE TABLE channels (id TEXT PRIMARY KEY)")
        aside.execute("CREATE TABLE programmes (channel TEXT, starts_s INT, line INT, ends_s INT, body BLOB)")
        entries = chain(_iter_elements(file, aside, with_channels), _iter_guides(aside))
        for number, entry in enumerate(entries, 1):
            if entry and number > after:
                yield _numbered(entry, number)


def _numbered(entry: FileEntry, number: int) -> FileEntry:
    return entry._replace(before=number - entry.line)


def _iter_elements(file: BinaryIO, aside: sqlite3.Connection, with_channels: bool) -> Iterator[FileEntry | None]:
    """Yield an entry for each element: a channel, an error, or None for a programme that was put aside."""
    reader, count, block, malformed = _ElementReader(), 0, b"the first", None
    while block and malformed is None:
        block = file.read(BLOCK_BYTES)
        try:
            reader.feed(block)
        except GuideMalformed as error:
            malformed = error
        for element in reader.take_done():
            count += element.tag == "programme"
            if count > MAX_PROGRAMMES:
                raise FileTooLarge(f"It has more than {MAX_PROGRAMMES} programmes.")
            yield _read_element(element, aside, with_channels)
    if malformed:
        yield rejected_entry(reader.parser.CurrentLineNumber, "malformed", str(malformed))


def _read_element(element: Element, aside: sqlite3.Connection, with_channels: bool) -> FileEntry | None:
    if element.tag == "channel":
        return _channel_entry(element, aside) if with_channels else None
    if element.tag != "programme":
        return None
    try:
        channel, airing = parse_programme(element)
    except InvalidRecord as invalid:
        name = element.attributes.get("channel", "").strip()
        return FileEntry(element.line, external_id=name or None, errors=invalid.errors)
    ends_s = int(airing.ends_at.timestamp()) if airing.ends_at else None
    row = (channel, int(airing.starts_at.timestamp()), element.line, ends_s, encode_programme(airing.record).encode())
    aside.execute("INSERT INTO programmes VALUES (?, ?, ?, ?, ?)", row)
    return None


def _channel_entry(element: Element, aside: sqlite3.Connection) -> FileEntry:
    value = parse_channel(element)
    aside.execute("INSERT OR IGNORE INTO channels VALUES (?)", (value.get("external_id"),))
    return channel_entry(element.line, value, "create")


def _iter_guides(aside: sqlite3.Connection) -> Iterator[FileEntry]:
    """Yield the programmes of each channel, sorted; the last one of a channel is an error if it has no end."""
    rows = aside.execute(
        "SELECT channel, starts_s, line, ends_s, body, channel IN (SELECT id FROM channels)"
        " FROM programmes ORDER BY channel, starts_s, line"
    )
    for channel, own in groupby(rows, itemgetter(0)):
        programmes = list(islice(own, MAX_PROGRAMMES_OF_CHANNEL + 1))
        line, last = programmes[0][2], programmes[-1]
        if len(programmes) > MAX_PROGRAMMES_OF_CHANNEL:
            reason = f"A channel must have at most {MAX_PROGRAMMES_OF_CHANNEL} programmes."
            yield rejected_entry(line, "too_many", reason, "channel", channel)
            continue
        if last[3] is None:
            reason = "The last programme of a channel must have an end or a length."
            yield rejected_entry(last[2], "missing", reason, "stop", channel)
        if schedule := build_schedule(map(_airing, programmes)):
            yield FileEntry(line, external_id=channel, guide=GuideEntry(channel, schedule, bool(last[5])))


def _airing(row: Any) -> Airing:
    _, starts_s, _, ends_s, body, _ = row
    ends_at = None if ends_s is None else datetime.fromtimestamp(ends_s, UTC)
    return Airing(datetime.fromtimestamp(starts_s, UTC), ends_at, decode_programme(body))
