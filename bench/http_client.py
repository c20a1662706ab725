"""A minimal HTTP/1.1 client over asyncio, cheap enough not to affect what it measures."""

import asyncio
import json
import time
from dataclasses import dataclass

MAX_IDLE_S = 3.0
"""Shorter than the server's keep-alive: the server may be about to close a connection that has been idle for longer."""


@dataclass(frozen=True, slots=True)
class Response:
    """`status` is 0 if the connection broke before a response arrived. `started`, `ended`: time.perf_counter()."""

    status: int
    body: bytes
    started: float
    ended: float

    @property
    def elapsed_s(self) -> float:
        return self.ended - self.started

    def json(self):
        return json.loads(self.body)


class Connection:
    """One keep-alive connection, reopened after it was closed or idle."""

    def __init__(self, host: str):
        self.host, self.stream, self.sent, self.last_used = host, None, 0, 0.0

    async def send(self, method, path, body=None, token=None, timeout_s=30, **headers) -> Response:
        """Send one request and return the response. `headers`: names with _ for -."""
        encoded = encode_request(self.host, method, path, body, token, headers)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                status, content, closes = await self._exchange(encoded, started)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            status, content, closes = 0, b"", True
        if closes:
            self.close()
        self.sent += 1
        self.last_used = time.perf_counter()
        return Response(status, content, started, self.last_used)

    async def _exchange(self, encoded, now):
        if self.stream is None or now - self.last_used > MAX_IDLE_S:
            self.close()
            name, _, port = self.host.partition(":")
            self.stream = await asyncio.open_connection(name, int(port))
        reader, writer = self.stream
        writer.write(encoded)
        head = await reader.readuntil(b"\r\n\r\n")
        headers = head.lower()
        length = int(headers.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        return int(head[9:12]), await reader.readexactly(length), b"connection: close" in headers

    def close(self) -> None:
        """Close the connection; the next request opens a new one, perhaps to another worker process."""
        if self.stream:
            self.stream[1].close()
        self.stream = None


def encode_request(host: str, method: str, path: str, body=None, token: str | None = None, headers=None) -> bytes:
    """The request as HTTP/1.1 bytes. A `body` that is not bytes is sent as JSON."""
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    head += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
    if token:
        head.append(f"Authorization: Bearer {token}")
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content
