"""Reads one HTTP/1 request from bytes as they arrive, without a socket and without waiting.

gunicorn's parser checks the head, once it is complete; the body is collected here: in memory, above
`SPOOL_ABOVE_BYTES` in a temporary file. A chunked body is decoded, and the app gets its length as Content-Length.
"""

import re
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkExtension,
    InvalidChunkSize,
    InvalidHeader,
    InvalidRequestLine,
    LimitRequestHeaders,
    NoMoreData,
    UnsupportedTransferCoding,
)
from gunicorn.http.parser import RequestParser

from streamsvc.http.plain_requests import parse_plain_head
from streamsvc.http.request_body import MAX_BODY_BYTES
from streamsvc.http.request_limits import MAX_HEAD_BYTES, SPOOL_ABOVE_BYTES, is_valid_host, max_body_bytes

if TYPE_CHECKING:
    from gunicorn.config import Config
    from gunicorn.http.message import Request

MAX_CHUNK_LINE_BYTES, MAX_TRAILER_BYTES = 1024, 8 * 1024
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})([ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
ABSOLUTE_TARGET = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
BARE_LF = re.compile(rb"(?<!\r)\n")


class RequestReader:
    """Collects one request; `request` is set once its head is complete, and `is_complete` once it can be served.

    A body over the limit is not collected: the request is complete as soon as that is known, its Content-Length makes
    the app refuse it, and the connection must be closed, as `request.should_close()` says.
    """

    def __init__(self, cfg: "Config", client: Any) -> None:
        self.cfg, self.client = cfg, client
        self.buffer = bytearray()
        self.request: Request | None = None
        self.body: IO[bytes] = BytesIO()
        self.body_bytes = 0
        self.max_body_bytes = MAX_BODY_BYTES
        self.is_complete = self.is_truncated = False
        self._chunks: ChunkedDecoder | None = None
        self._missing = self._searched = 0

    @property
    def has_large_body(self) -> bool:
        return self.max_body_bytes > MAX_BODY_BYTES and (self._chunks is not None or self._missing > MAX_BODY_BYTES)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""
        return self.request is not None and not self.is_complete and self.request._expected_100_continue

    def feed(self, data: bytes) -> None:
        """Add received bytes. Raises gunicorn's errors for a request that is not valid, OSError if the disk is full."""
        self.buffer += data
        if self.request is None:
            self._read_head()
        if self.request is not None and not self.is_complete:
            self._read_body()

    def close(self) -> None:
        self.body.close()

    def _read_head(self) -> None:
        searched = max(0, self._searched - 3)
        end = self.buffer.find(b"\r\n\r\n", searched) + 4
        if end < 4:
            if len(self.buffer) <= MAX_HEAD_BYTES and not BARE_LF.search(self.buffer, searched):
                self._searched = len(self.buffer)
                return
            end = len(self.buffer)  # for the parser to say what is wrong with it
        if end > MAX_HEAD_BYTES + 4:
            end = MAX_HEAD_BYTES
        head = bytes(self.buffer[:end])
        request = parse_plain_head(head, self.cfg, self.client) or self._parse_head(head)
        del self.buffer[:end]
        headers = dict(request.headers)
        check_host(request, headers)
        if "CONNECTION" in headers and ends_connection(request):
            request.force_close()
        self.request = request
        self.max_body_bytes = max_body_bytes(request.method, request.path)
        if "TRANSFER-ENCODING" in headers:
            if headers["TRANSFER-ENCODING"].lower() != "chunked":
                raise UnsupportedTransferCoding(headers["TRANSFER-ENCODING"])
            self._chunks = ChunkedDecoder()
        else:
            self._missing = int(headers.get("CONTENT-LENGTH", 0))
        if self._chunks or self._missing:
            self.body = SpooledTemporaryFile(SPOOL_ABOVE_BYTES)  # noqa: SIM115  (closed by `close`)

    def _parse_head(self, head: bytes) -> "Request":
        try:
            return next(RequestParser(self.cfg, iter([head]), self.client))
        except (NoMoreData, StopIteration):
            raise LimitRequestHeaders("the head is too long") from None

    def _read_body(self) -> None:
        if self._chunks is None:
            if self._missing > self.max_body_bytes:
                self._truncate()
                return
            data = bytes(self.buffer[: self._missing])
            del self.buffer[: len(data)]
            self._missing -= len(data)
            is_complete = not self._missing
        else:
            data = self._chunks.decode(self.buffer)
            is_complete = self._chunks.is_complete
        self.body_bytes += len(data)
        if self.body_bytes > self.max_body_bytes:
            self._truncate()
            return
        self.body.write(data)
        if is_complete:
            self._complete()

    def _truncate(self) -> None:
        """Give up a body over the limit; nothing that follows it on the connection can be read."""
        assert self.request is not None
        self.is_truncated = True
        self.request.force_close()
        self.buffer.clear()
        self._complete()

    def _complete(self) -> None:
        assert self.request is not None
        if self._chunks is not None:
            kept = [header for header in self.request.headers if header[0] != "TRANSFER-ENCODING"]
            self.request.headers = [*kept, ("CONTENT-LENGTH", str(self.body_bytes))]
        self.body.seek(0)
        self.request.body = self.body
        self.request._expected_100_continue = False  # gunicorn would send it with the response
        self.is_complete = True


class ChunkedDecoder:
    """Decodes the chunked transfer coding (RFC 9112, section 7.1). Extensions and trailers are dropped."""

    def __init__(self) -> None:
        self.is_complete = False
        self._step = self._read_size
        self._missing = self._overhead = self._decoded = self._trailers = 0

    def decode(self, buffer: bytearray) -> bytes:
        """Take all that can be decoded out of the buffer. Raises gunicorn's errors for anything malformed."""
        data = bytearray()
        while not self.is_complete and self._step(buffer, data):
            pass
        self._decoded += len(data)
        if self._overhead > 16 * 1024 + 8 * self._decoded:
            raise InvalidChunkExtension("more framing than data")
        return bytes(data)

    def _read_size(self, buffer: bytearray, data: bytearray) -> bool:
        line = self._take_line(buffer, MAX_CHUNK_LINE_BYTES)
        if line is None:
            return False
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise InvalidChunkSize(line[:20])
        self._missing = int(match[1], 16)
        self._step = self._read_data if self._missing else self._read_trailer
        return True

    def _read_data(self, buffer: bytearray, data: bytearray) -> bool:
        piece = buffer[: self._missing]
        del buffer[: len(piece)]
        data += piece
        self._missing -= len(piece)
        if not self._missing:
            self._step = self._read_terminator
        return not self._missing

    def _read_terminator(self, buffer: bytearray, data: bytearray) -> bool:
        if not b"\r\n".startswith(buffer[:2]):
            raise ChunkMissingTerminator(bytes(buffer[:2]))
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self._step = self._read_size
        return True

    def _read_trailer(self, buffer: bytearray, data: bytearray) -> bool:
        line = self._take_line(buffer, MAX_TRAILER_BYTES - self._trailers)
        if line is None:
            return False
        self._trailers += len(line) + 2
        self.is_complete = not line
        return True

    def _take_line(self, buffer: bytearray, limit: int) -> bytes | None:
        """Take a line out of the buffer; None if it has not fully arrived."""
        end = buffer.find(b"\r\n", 0, limit + 2)
        if BARE_LF.search(buffer, 0, end if end >= 0 else len(buffer)) or (end < 0 and len(buffer) > limit):
            raise InvalidChunkSize(bytes(buffer[:20]))
        if end < 0:
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        self._overhead += len(line) + 4
        return line


def ends_connection(request: "Request") -> bool:
    """Whether the client closes the connection after this request, among other options (RFC 9110, section 7.6.1)."""
    options = ",".join(value for name, value in request.headers if name == "CONNECTION")
    return "close" in [option.strip() for option in options.lower().split(",")]


def check_host(request: "Request", headers: dict[str, str]) -> None:
    """Require one valid Host in HTTP/1.1 (RFC 9112, section 3.2), the same as in an absolute target.

    Raises InvalidHeader, InvalidRequestLine.
    """
    host = headers.get("HOST")
    if host is None:
        if request.version >= (1, 1):
            raise InvalidHeader("HOST", req=request)
        return
    if not is_valid_host(host):
        raise InvalidHeader("HOST", req=request)
    target = ABSOLUTE_TARGET.match(request.uri)
    if target and target[1].lower() != host.lower():
        raise InvalidRequestLine(request.uri)
