"""gzip for responses of more than a kilobyte, as WSGI middleware, for clients that accept it.

The compressed form of a response with a strong ETag is kept by that ETag, so each process compresses a document of the
catalogue or a file of the storefront once. Its own ETag ends in `-gzip`, since a strong one names one sequence of bytes
(RFC 9110, 8.8.3.3); the middleware takes the ending off again where a client sends it back.

BREACH needs a secret and text of the attacker's in one compressed body. No response here has both: none that holds a
token or a CSRF token repeats a parameter of its request, and cookies are `SameSite=Lax`.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from streamsvc.http.response_cache import ResponseCache

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

MIN_BYTES = 1024
LEVEL_ONCE, LEVEL_KEPT = 1, 6
"""zlib's levels: for what is compressed for one response, and for what is kept."""
GZIP_WINDOW = 31
ENDING = "-gzip"
ENCODING = "streamsvc.encoding"
"""Key in the environment: (whether the client accepts gzip, whether it sent an ETag of a compressed response)."""
COMPRESSIBLE = re.compile(
    r"(text/|image/svg\+xml|application/(.+\+)?(json|xml|x-ndjson|javascript|vnd\.apple\.mpegurl))"
)
_QUALITY = re.compile(r"q\s*=\s*([01](?:\.[0-9]{0,3})?)")
_TAG_WITH_ENDING = re.compile(rf'{ENDING}"')


class CompressionMiddleware:
    """Compresses the responses of an app."""

    def __init__(self, wsgi_app: WSGIApplication) -> None:
        self.wsgi_app = wsgi_app
        self.kept = ResponseCache()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.prepare(environ)
        started: list[Any] = []

        def keep_start(
            status: str, headers: list[tuple[str, str]], exc_info: "OptExcInfo | None" = None
        ) -> Callable[[bytes], object]:
            started[:] = [status, headers, exc_info]
            return start_response(status, headers, exc_info) if exc_info else _write_nothing

        body = self.wsgi_app(environ, keep_start)
        status, headers, exc_info = started
        if exc_info:
            return body
        headers, body = self.complete(environ, status, headers, body)
        start_response(status, headers)
        return body

    def prepare(self, environ: WSGIEnvironment) -> None:
        """Note whether the client accepts gzip, and whether it sent an ETag of a compressed response."""
        if ENCODING not in environ:
            accepts = accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
            environ[ENCODING] = accepts, _strip_endings(environ, accepts)

    def complete(
        self, environ: WSGIEnvironment, status: str, headers: list[tuple[str, str]], body: Iterable[bytes]
    ) -> tuple[list[tuple[str, str]], Iterable[bytes]]:
        """Compress the response, if the client accepts it."""
        accepts, had_ending = environ[ENCODING]
        fields = {name.lower(): value for name, value in headers}
        if status.startswith("304"):
            headers = _with_vary(_with_ending(headers) if had_ending else headers, fields)
        elif is_compressible(status, fields):
            headers = _with_vary(headers, fields)
            if accepts:
                replaced = ("content-length", "accept-ranges")
                headers = [header for header in _with_ending(headers) if header[0].lower() not in replaced]
                headers.append(("Content-Encoding", "gzip"))
                is_head = environ["REQUEST_METHOD"] == "HEAD"  # without the body, its compressed length is unknown
                if "content-length" in fields and not is_head:
                    compressed = self._compress(_read_all(body), fields)
                    headers.append(("Content-Length", str(len(compressed))))
                    body = [compressed]
                elif not is_head:
                    body = _compress_stream(body)
        return headers, body

    def _compress(self, body: bytes, fields: dict[str, str]) -> bytes:
        etag = fields.get("etag", "")
        if not etag.startswith('"'):
            return _gzip(body, LEVEL_ONCE)
        key = f"{etag}{hash(body)}"  # no wrong ETag can mix up two bodies; a kept body remembers its hash
        compressed = self.kept.get(key)
        if compressed is None:
            compressed = _gzip(body, LEVEL_KEPT)
            self.kept.store(key, compressed)
        return compressed


@lru_cache(maxsize=32)
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an `Accept-Encoding` names gzip, and not with the quality 0."""
    for part in accept_encoding.lower().split(","):
        coding, _, parameters = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            quality = _QUALITY.search(parameters)
            return not quality or float(quality[1]) > 0
    return False


def is_compressible(status: str, fields: dict[str, str]) -> bool:
    """Whether a response is text, whole, not encoded, and above the limit or streamed. `fields` in lower case."""
    length = fields.get("content-length")
    return (
        not status.startswith(("1", "204", "206", "304"))
        and (length is None or int(length) > MIN_BYTES)
        and "content-encoding" not in fields
        and _is_text(fields.get("content-type", ""))
    )


@lru_cache(maxsize=256)
def _is_text(content_type: str) -> bool:
    return COMPRESSIBLE.match(content_type) is not None


def _gzip(body: bytes, level: int) -> bytes:
    compressor = zlib.compressobj(level, wbits=GZIP_WINDOW)
    return compressor.compress(body) + compressor.flush()


def _read_all(body: Iterable[bytes]) -> bytes:
    try:
        return b"".join(body)
    finally:
        _close(body)


def _compress_stream(body: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a body of unknown length compressed, as it comes."""
    compressor = zlib.compressobj(LEVEL_ONCE, wbits=GZIP_WINDOW)
    try:
        for chunk in body:
            if compressed := compressor.compress(chunk):
                yield compressed
        yield compressor.flush()
    finally:
        _close(body)


def _close(body: Iterable[bytes]) -> None:
    if close := getattr(body, "close", None):
        close()


def _strip_endings(environ: WSGIEnvironment, accepts: bool) -> bool:
    """Give the app the ETags that it knows. Returns whether the client sent one of a compressed response.

    For a client that does not accept gzip, the compressed response that its cache has is not the one it would get.
    """
    found = False
    for name in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH") if accepts else ("HTTP_IF_MATCH",):
        if ENDING in (value := environ.get(name, "")):
            environ[name], found = _TAG_WITH_ENDING.sub('"', value), True
    return found


def _with_ending(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    def add(name: str, value: str) -> str:
        is_strong = name.lower() == "etag" and value.startswith('"')
        return f'{value[:-1]}{ENDING}"' if is_strong else value

    return [(name, add(name, value)) for name, value in headers]


def _with_vary(headers: list[tuple[str, str]], fields: dict[str, str]) -> list[tuple[str, str]]:
    """Add `Accept-Encoding` to `Vary`, on one line: nginx before 1.23 heeds only the last."""
    if "vary" not in fields:
        return [*headers, ("Vary", "Accept-Encoding")]
    names = [value for name, value in headers if name.lower() == "vary"]
    others = [header for header in headers if header[0].lower() != "vary"]
    return [*others, ("Vary", ", ".join([*names, "Accept-Encoding"]))]


def _write_nothing(_: bytes) -> None:
    """Stand for WSGI's `write`, which no code of the service calls."""
