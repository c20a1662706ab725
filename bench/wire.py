"""HTTP/1.1 over asyncio with as little work as possible, so that the client does not weigh on what it measures."""

import asyncio
import json
import time
from dataclasses import dataclass

IDLE_S = 3.0
"""Younger than the server's keep-alive: a connection that was idle for longer may just be closing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: the connection broke before an answer came. `began`, `ended`: time.perf_counter()."""

    status: int
    body: bytes
    began: float
    ended: float

    @property
    def took_s(self) -> float:
        return self.ended - self.began

    def json(self):
        return json.loads(self.body)


class Line:
    """One connection, opened anew where it was closed or stood idle."""

    def __init__(self, host: str):
        self.host, self.stream, self.asked, self.used = host, None, 0, 0.0

    async def ask(self, method, path, body=None, token=None, timeout_s=30, **headers) -> Answer:
        """Send one request; `headers` with _ for -."""
        raw = request(self.host, method, path, body, token, headers)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(timeout_s):
                status, content, closes = await self._send(raw, began)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            status, content, closes = 0, b"", True
        if closes:
            self.close()
        self.asked += 1
        self.used = time.perf_counter()
        return Answer(status, content, began, self.used)

    async def _send(self, raw, now):
        if self.stream is None or now - self.used > IDLE_S:
            self.close()
            name, _, port = self.host.partition(":")
            self.stream = await asyncio.open_connection(name, int(port))
        reader, writer = self.stream
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        told = head.lower()
        length = int(told.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        return int(head[9:12]), await reader.readexactly(length), b"connection: close" in told

    def close(self) -> None:
        """The next request opens a connection, perhaps to another process."""
        if self.stream:
            self.stream[1].close()
        self.stream = None


def request(host: str, method: str, path: str, body=None, token: str | None = None, headers=None) -> bytes:
    """A request as bytes; a `body` that is not bytes goes as JSON."""
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    head += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
    if token:
        head.append(f"Authorization: Bearer {token}")
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content
