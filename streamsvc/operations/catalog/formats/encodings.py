"""Detects the encoding of text files, and reads them as UTF-8.

A byte order mark decides, then UTF-16's zero bytes, then whether the text is valid UTF-8. What is neither was probably
written by a spreadsheet in the encoding of its country, which charset-normalizer guesses.
"""

import codecs
import io
from typing import Any, BinaryIO, NamedTuple

from charset_normalizer import from_bytes

from streamsvc.operations.catalog.formats import FileWarning

UTF_8, WINDOWS_1252 = "utf-8", "cp1252"
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LEGACY_ENCODINGS = [
    WINDOWS_1252, "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "shift_jis", "gb18030", "big5", "euc_kr",
]  # fmt: skip
BLOCK_BYTES = 64 * 1024
MAX_SCANNED_BYTES = 16 << 20
"""How far the first byte beyond ASCII is looked for; what follows is read as UTF-8."""
MAX_SAMPLED_BYTES = 32 * 1024


AS_INVALID, INVALID = "streamsvc.invalid", "\udcff"
codecs.register_error(AS_INVALID, lambda error: (INVALID, error.end))  # type: ignore[attr-defined]
"""Bytes that an encoding does not have become one that UTF-8 does not have, so that only their own row is rejected."""


class DetectedEncoding(NamedTuple):
    name: str
    is_guess: bool = False

    @property
    def label(self) -> str:
        """The name by which operators state the encoding."""
        return codecs.lookup(self.name).name.replace("cp125", "windows-125").replace("euc_kr", "euc-kr")

    @property
    def warnings(self) -> tuple[FileWarning, ...]:
        """The warning that the encoding is a guess."""
        reason = f"The file is not in UTF-8 and was read as {self.label}; name its encoding if that is wrong."
        return (FileWarning("", "encoding_guessed", reason),) if self.is_guess else ()


def detect_encoding(file: BinaryIO) -> DetectedEncoding:
    """Return the encoding of a file, which is read from its start and set back to it."""
    file.seek(0)
    sample = _read_sample(file)
    file.seek(0)
    for mark, name in BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return DetectedEncoding(name)
    if byte_order := _utf_16_without_mark(sample):
        return DetectedEncoding(byte_order, is_guess=True)
    if sample.isascii() or b"\0" in sample or _is_mostly_utf_8(sample):
        return DetectedEncoding(UTF_8)
    return DetectedEncoding(_guess_legacy_encoding(sample), is_guess=True)


def open_as_utf_8(file: BinaryIO, encoding: str) -> BinaryIO:
    """Return the file's text in UTF-8; bytes that the encoding does not have become invalid UTF-8 again."""
    return file if encoding == UTF_8 else io.BufferedReader(_Utf8File(file, encoding), BLOCK_BYTES)


class _Utf8File(io.RawIOBase):
    """A file in another encoding, read as UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str):
        self.file, self.pending = file, b""
        self.decoder = codecs.getincrementaldecoder(encoding)(errors=AS_INVALID)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.pending:
            block = self.file.read(BLOCK_BYTES)
            self.pending = self.decoder.decode(block, final=not block).encode(errors="surrogateescape")
            if not block:
                break
        data, self.pending = self.pending[: len(buffer)], self.pending[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _read_sample(file: BinaryIO) -> bytes:
    """Return the start of the file, or the first block that is not ASCII alone."""
    first = block = file.read(BLOCK_BYTES)
    scanned = len(block)
    while block and block.isascii() and b"\0" not in first and scanned < MAX_SCANNED_BYTES:
        block = file.read(BLOCK_BYTES)
        scanned += len(block)
    return block or first


def _utf_16_without_mark(sample: bytes) -> str | None:
    """Return the byte order of text whose every second byte is mostly zero."""
    head = sample[:2000]
    if len(head) < 4:
        return None
    odd, even = head[1::2].count(0), head[::2].count(0)
    if odd > len(head) // 4 and even < odd // 10 + 1:
        return "utf-16-le"
    return "utf-16-be" if even > len(head) // 4 and odd < even // 10 + 1 else None


def _is_mostly_utf_8(sample: bytes) -> bool:
    """Whether the characters beyond ASCII are valid UTF-8, but for a few damaged ones."""
    text = sample.decode(errors="surrogateescape")
    invalid = sum("\udc80" <= letter <= "\udcff" for letter in text)
    valid = sum(not letter.isascii() for letter in text) - invalid
    return valid >= invalid - 3 if valid else False  # a block may begin and end inside a character


def _guess_legacy_encoding(sample: bytes) -> str:
    """Return the likeliest encoding; Windows-1252 where it is as likely as another that reads the same text."""
    lines = [line for line in sample.splitlines() if not line.isascii()]
    matches = from_bytes(b"\n".join(lines)[:MAX_SAMPLED_BYTES], cp_isolation=LEGACY_ENCODINGS, threshold=0.5)
    best = matches.best()
    if best is None:
        return WINDOWS_1252
    as_likely = [m for m in matches if m.chaos <= best.chaos + 0.001 and m.coherence >= best.coherence - 0.001]
    if any(WINDOWS_1252 in match.could_be_from_charset for match in as_likely):
        return WINDOWS_1252
    return best.encoding
