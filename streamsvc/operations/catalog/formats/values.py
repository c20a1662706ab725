"""Reads JSON one value at a time from a file of any size."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from streamsvc.rules.catalog.record import MAX_LINE_BYTES

BLOCK_BYTES = 64 * 1024
WHITESPACE = re.compile(r"[ \t\r\n]*")


def starts_with_array(file: BinaryIO) -> bool:
    """Whether the file, of which nothing is read yet, begins with a JSON array of objects."""
    head = file.peek(BLOCK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip()  # type: ignore[attr-defined]  # it is buffered
    return head[:1] == b"[" and head[1:].lstrip()[:1] in (b"{", b"]")


def iter_array(file: BinaryIO) -> Iterator[Any]:
    """Yield the values of a JSON array one at a time. Raises ValueError, RecursionError."""
    reader = JsonReader(file)
    reader.expect("[")
    if not reader.accept("]"):
        yield reader.read_value()
        while reader.accept(","):
            yield reader.read_value()
        reader.expect("]")


def iter_values(file: BinaryIO) -> Iterator[Any]:
    """Yield the JSON values that follow one another in a file. Raises ValueError, RecursionError."""
    reader = JsonReader(file)
    while not reader.is_at_end():
        yield reader.read_value()


class JsonReader:
    """A reader of a JSON file. Invalid UTF-8 becomes lone surrogates; the length of a value is limited.

    Methods raise ValueError for malformed JSON, and RecursionError for JSON nested too deeply.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.text, self.at = "", 0
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        self.reader = json.JSONDecoder()
        self.at_end = False

    def accept(self, sign: str) -> bool:
        """Skip this sign if it comes next; return whether it did."""
        is_next = self._peek() == sign
        self.at += is_next
        return is_next

    def expect(self, sign: str) -> None:
        """Skip this sign, which must come next."""
        if not self.accept(sign):
            raise ValueError(f"expected {sign}")

    def read_value(self) -> Any:
        """Read the next value."""
        self._peek()
        while True:
            try:
                value, end = self.reader.raw_decode(self.text, self.at)
            except json.JSONDecodeError:
                self._read_more()
                continue
            if end == len(self.text) and not self.at_end:  # a number may continue
                self._read_more()
                continue
            self.at = end
            return value

    def read_name(self) -> str:
        """Read the name of the next member, and the colon."""
        name = self.read_value()
        if not isinstance(name, str):
            raise ValueError("a member has no name")
        self.expect(":")
        return name

    def is_at_end(self) -> bool:
        """Skip whitespace; return whether nothing else follows."""
        return not self._peek()

    def _peek(self) -> str:
        while True:
            if spaces := WHITESPACE.match(self.text, self.at):
                self.at = spaces.end()
            if self.at < len(self.text) or self.at_end:
                return self.text[self.at : self.at + 1]
            self._read_more()

    def _read_more(self) -> None:
        """Read another block. Raises ValueError at the end of the file, or if the text exceeds any valid value."""
        if self.at_end or len(self.text) - self.at > MAX_LINE_BYTES:
            raise ValueError("a value is malformed or too long")
        block = self.file.read(BLOCK_BYTES)
        self.at_end = not block
        self.text, self.at = self.text[self.at :] + self.decoder.decode(block, final=self.at_end), 0
