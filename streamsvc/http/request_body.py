"""Rejects a request body that ends before the length that its Content-Length declares.

gunicorn marks its input as terminated, so that Werkzeug takes the end of the connection for the end of the body: half
an import file would be imported as a whole one.
"""

from typing import IO, TYPE_CHECKING, Any

from werkzeug.exceptions import ClientDisconnected

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MAX_BODY_BYTES = 256 * 1024


class DeclaredLengthBody:
    """A body stream; raises ClientDisconnected at its end if bytes are missing."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        self.stream, self.missing = stream, length

    def read(self, size: int | None = -1) -> bytes:
        data = self.stream.read(-1 if size is None else size)
        self.missing -= len(data)
        is_end = size is None or size < 0 or (size > 0 and not data)
        if is_end and self.missing > 0:
            raise ClientDisconnected
        return data

    def readline(self, size: int | None = -1) -> bytes:
        line = self.stream.readline(-1 if size is None else size)
        self.missing -= len(line)
        if not line and size != 0 and self.missing > 0:
            raise ClientDisconnected
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def require_declared_length(environ: "WSGIEnvironment") -> None:
    """Wrap the request's input so that reading an incomplete body raises ClientDisconnected."""
    length = environ.get("CONTENT_LENGTH", "")
    if length.isdecimal() and int(length) > 0:
        environ["wsgi.input"] = DeclaredLengthBody(environ["wsgi.input"], int(length))
