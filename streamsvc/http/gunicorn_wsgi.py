"""WSGI for BufferingWorker: the environment of a request, and its response, which leaves in one packet.

gunicorn's own environment and response head take as long as a hot read. These are made of the same parts.
"""

import socket
import time
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidResponseHeader

from streamsvc.http.wsgi_environ import environ_key

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from gunicorn.config import Config
    from gunicorn.http.message import Request

    from streamsvc.http.worker import Connection

MAX_UNSENT_BYTES = 2 << 20
"""The most bytes of a response that wait in memory for a client that reads slowly."""
FIELD_BYTES = bytes(byte for byte in range(256) if byte in b"\t\r\n" or (byte >= 32 and byte != 127))


def base_environ(cfg: "Config") -> "WSGIEnvironment":
    """Return what is the same for every request of a process."""
    return wsgi.base_environ(cfg) | {"wsgi.multithread": True, "SCRIPT_NAME": ""}


def build_environ(base: "WSGIEnvironment", request: "Request", connection: "Connection") -> "WSGIEnvironment":
    """Return the WSGI environment of a request."""
    path, client, server = request.path, connection.client, connection.server
    environ = {
        **base,
        "REQUEST_METHOD": request.method,
        "PATH_INFO": util.unquote_to_wsgi_str(path) if "%" in path else path,
        "QUERY_STRING": request.query,
        "RAW_URI": request.uri,
        "SERVER_PROTOCOL": "HTTP/{}.{}".format(*request.version),
        "SERVER_NAME": server if isinstance(server, str) else server[0],
        "SERVER_PORT": "" if isinstance(server, str) else str(server[1]),
        "REMOTE_ADDR": client if isinstance(client, str) else client[0],
        "REMOTE_PORT": "" if isinstance(client, str) else str(client[1]),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": request.body,
    }
    for name, value in request.headers:
        key = environ_key(name)
        is_repeated = key in environ and key.startswith("HTTP_")
        environ[key] = f"{environ[key]},{value}" if is_repeated else value
    return environ


@lru_cache(maxsize=1)
def format_date(_second: int) -> str:
    """Return the Date header, which is made once a second; `_second` is any clock's."""
    return util.http_date()


class OnePacketResponse(wsgi.Response):
    """gunicorn's response, which sends its head together with the first part of the body.

    The socket does not block. What the client does not read at once is left in `unsent` for the event loop, so that it
    holds no thread.
    """

    head = b""
    headers_sent: bool

    def __init__(self, request: "Request", sock: socket.socket, cfg: "Config", unsent: bytearray) -> None:
        super().__init__(request, sock, cfg)
        self.unsent = unsent

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            lowered = name.lower()
            if lowered == "content-length":
                self.response_length = int(value)
            if lowered not in util.hop_headers:
                self.headers.append((name, value))

    def send_headers(self) -> None:
        """Prepare the head. Raises InvalidResponseHeader if a header is not one line of allowed characters."""
        if self.headers_sent:
            return
        try:
            fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers]).encode("latin-1")
        except UnicodeEncodeError:
            raise InvalidResponseHeader("a character that no header may have") from None
        if not fields.count(b"\r") == fields.count(b"\n") == len(self.headers) or fields.translate(None, FIELD_BYTES):
            raise InvalidResponseHeader("a control character")
        version, date = "{}.{}".format(*self.req.version), format_date(int(time.monotonic()))
        connection = "close" if self.should_close() else "keep-alive"
        framing = "Transfer-Encoding: chunked\r\n" if self.chunked else ""
        first = (
            f"HTTP/{version} {self.status}\r\nServer: {self.version}\r\nDate: {date}\r\nConnection: {connection}\r\n"
        )
        self.head = b"%b%b\r\n" % ((first + framing).encode("latin-1"), fields)
        self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def write_file(self, file: Any) -> None:
        self.send_headers()
        self._send(b"")
        self._send_rest()
        self.sock.setblocking(True)
        try:
            super().write_file(file)
        finally:
            self.sock.setblocking(False)

    def close(self) -> None:
        self.send_headers()
        self._send(b"0\r\n\r\n" if self.chunked else b"")

    def _send(self, data: bytes) -> None:
        data, self.head = self.head + data, b""
        if data and not self.unsent:
            with suppress(BlockingIOError):
                data = data[self.sock.send(data) :]
        self.unsent += data
        if len(self.unsent) > MAX_UNSENT_BYTES:
            self._send_rest()

    def _send_rest(self) -> None:
        """Wait until the client has room for the rest; SO_SNDTIMEO limits the time."""
        self.sock.setblocking(True)
        try:
            self.sock.sendall(self.unsent)
        finally:
            self.sock.setblocking(False)
        self.unsent.clear()
