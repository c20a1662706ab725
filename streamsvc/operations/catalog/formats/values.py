"""JSON read a value at a time from a file of any size."""

import codecs
import json
import re
from typing import Any, BinaryIO

from streamsvc.rules.catalog.record import MAX_LINE_BYTES

BLOCK_BYTES = 64 * 1024
WHITESPACE = re.compile(r"[ \t\r\n]*")


class JsonReader:
    """A place in a file of JSON. Bytes that are no UTF-8 pass as lone surrogates; no value may be longer than a line.

    What is not as it should be raises ValueError, what is nested too deeply RecursionError.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.text, self.at = "", 0
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="surrogateescape")
        self.reader = json.JSONDecoder()
        self.at_end = False

    def accept(self, sign: str) -> bool:
        """Whether this sign comes next; passes over it."""
        taken = self._peek() == sign
        self.at += taken
        return taken

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            raise ValueError(f"there should be a {sign}")

    def read_value(self) -> Any:
        """The value that comes next."""
        self._peek()
        while True:
            try:
                value, end = self.reader.raw_decode(self.text, self.at)
            except json.JSONDecodeError:
                self._read_more()
                continue
            if end == len(self.text) and not self.at_end:  # a number may go on
                self._read_more()
                continue
            self.at = end
            return value

    def read_name(self) -> str:
        """The name of the member that comes next."""
        name = self.read_value()
        if not isinstance(name, str):
            raise ValueError("a member has no name")
        self.expect(":")
        return name

    def _peek(self) -> str:
        while True:
            self.at = WHITESPACE.match(self.text, self.at).end()
            if self.at < len(self.text) or self.at_end:
                return self.text[self.at : self.at + 1]
            self._read_more()

    def _read_more(self) -> None:
        """Have more of the file. Raises ValueError where there is none, or enough for any value is there already."""
        if self.at_end or len(self.text) - self.at > MAX_LINE_BYTES:
            raise ValueError("a value is broken, or longer than a line may be")
        block = self.file.read(BLOCK_BYTES)
        self.at_end = not block
        self.text, self.at = self.text[self.at :] + self.decoder.decode(block, final=self.at_end), 0
