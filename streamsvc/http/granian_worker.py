"""One web process on Granian; `streamsvc serve --server granian` runs as many as there are workers.

Granian reads the heads of requests and writes responses in Rust (hyper). A request without a body is served by the
thread that Granian hands it to. A body is collected by the event loop first, with limits and deadlines, and only then
gets a thread: as with gunicorn's BufferingWorker, a client that sends slowly costs a socket.

Granian's master process is not used, since `streamsvc serve` supervises the processes. Neither is its WSGI interface:
there, a body is read by a thread that waits without a deadline, a broken body looks like one that ended, and
`X_Forwarded_For` replaces `X-Forwarded-For`. RSGI shows names and bodies as they are. Written against granian 2.8;
setup.cfg pins it.
"""

import asyncio
import logging
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from flask import Flask
from granian._granian import CallbackScheduler, RSGIWorker, SocketHolder, WorkerSignal
from granian.http import HTTP1Settings

from streamsvc.http.request_body import MAX_BODY_BYTES
from streamsvc.http.request_limits import (
    LINGER_S,
    MAX_FIELD_BYTES,
    MAX_HEAD_BYTES,
    MAX_LARGE_BODIES,
    MAX_LINE_BYTES,
    RESERVED_PATH,
    SPOOL_ABOVE_BYTES,
    body_deadline,
    is_valid_host,
    max_body_bytes,
    raise_open_file_limit,
)
from streamsvc.http.server_problems import server_problem
from streamsvc.http.serving_threads import ServingThreads, Turns
from streamsvc.http.wsgi_environ import environ_key

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

BACKLOG, MAX_CONNECTIONS = 2048, 10_000
KEEP_THREADS_S = 10**9
MAX_DIRECT_THREADS = 3
FIRST_BYTES_S = 1.0
"""How long a process that stops waits for the first bytes of a connection that it has already accepted."""
DIGITS = re.compile("[0-9]{1,18}")
log = logging.getLogger("streamsvc")


class ServerError(Exception):
    """The request ends before the app; the first argument is the status."""


class Scheduler(CallbackScheduler):
    """Hands requests to a function; Granian's own scheduler makes each a task of the event loop."""

    def __new__(cls, loop: asyncio.AbstractEventLoop, handle: Callable[[Any], None]) -> "Scheduler":
        scheduler = super().__new__(cls, loop, None, None, None, None)
        scheduler._schedule_fn = handle
        return scheduler


class Front:
    """Calls the app for the requests that Granian has read.

    Up to `threads` requests are served at a time: those without a body by a few threads of Granian's, as they come;
    those whose body is complete, and whatever finds none of these threads free, by a pool. A thread keeps a connection
    to the database, so that there are at most four more of them than `rules/connections.py` counts threads.
    """

    def __init__(self, app: Flask, loop: asyncio.AbstractEventLoop, threads: int, request_timeout_s: float) -> None:
        self.app, self.loop, self.request_timeout_s = app, loop, request_timeout_s
        self.direct_threads = max(1, min(MAX_DIRECT_THREADS, threads // 2))
        self.direct = threading.Semaphore(self.direct_threads)
        self.all = threading.Semaphore(max(threads, self.direct_threads + 1))
        is_sqlite = app.extensions["settings"].is_sqlite
        self.pool = ServingThreads(threads, lambda serve: serve(), takes_turns=is_sqlite)
        self.large_bodies = 0
        self.readers: set[asyncio.Task] = set()
        self.turns = Turns() if is_sqlite else None
        self.is_stopping = False

    def handle(self, watcher: Any) -> None:
        """Serve a request, or have it served; called by Granian's threads. Granian wants None and no exception."""
        if self.turns is None:
            self._handle(watcher)
            return
        self.turns.begin()
        self._handle(watcher)
        self.turns.end()

    def _handle(self, watcher: Any) -> None:
        proto = watcher.proto
        try:
            environ = build_environ(watcher.scope)
            if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
                self.loop.call_soon_threadsafe(self._start_reading, environ, proto, time.monotonic())
            elif environ["PATH_INFO"] == RESERVED_PATH:
                self._serve(environ, proto)
            elif self.direct.acquire(blocking=False):
                try:
                    self._serve_in_turn(environ, proto)
                finally:
                    self.direct.release()
            else:
                self.pool.submit(partial(self._serve_in_turn, environ, proto))
        except ServerError as error:
            send_problem(proto, *error.args)
        except Exception:
            log.exception("a request was not served")
            send_problem(proto, 500)

    def stop(self) -> None:
        """End each connection with its next response."""
        self.is_stopping = True
        if self.turns:
            self.turns.stop()

    def _serve_in_turn(self, environ: "WSGIEnvironment", proto: Any) -> None:
        with self.all:
            self._serve(environ, proto)

    def _serve(self, environ: "WSGIEnvironment", proto: Any, closes: bool = False) -> None:
        """Call the app and send its response. `closes`: the connection ends with it."""
        try:
            self._call_app(environ, proto, closes or self.is_stopping)
        except Exception:
            log.exception("a request failed")
            send_problem(proto, 500)

    def _call_app(self, environ: "WSGIEnvironment", proto: Any, closes: bool) -> None:
        status, headers = 500, []

        def start_response(line: str, fields: list[tuple[str, str]], exc_info: object = None) -> Any:
            nonlocal status, headers
            status, headers = int(line[:3]), fields

        chunks: Any = self.app.wsgi_app(environ, start_response)
        if closes:
            headers.append(("Connection", "close"))
        try:
            body = b"".join(chunks)  # at once: Granian would end a stream that fails as if it were complete
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        proto.response_bytes(status, headers, body)

    def _start_reading(self, environ: "WSGIEnvironment", proto: Any, started: float) -> None:
        task = self.loop.create_task(self._read(environ, proto, started))
        self.readers.add(task)
        task.add_done_callback(self.readers.discard)

    async def _read(self, environ: "WSGIEnvironment", proto: Any, started: float) -> None:
        """Collect the body of a request, then have it served."""
        limit = max_body_bytes(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        body = Body(environ, proto, started, self.request_timeout_s, limit)
        try:
            if body.is_large and self.large_bodies >= MAX_LARGE_BODIES:
                raise ServerError(503)
            self.large_bodies += body.is_large
            try:
                await body.receive()
            finally:
                self.large_bodies -= body.is_large
        except ServerError as error:
            body.stream.close()
            send_problem(proto, *error.args)
        except Exception:
            log.exception("a request was not read")
            send_problem(proto, 500)
        else:
            self.pool.submit(partial(self._serve_with_body, body))
        if not body.is_complete and "HTTP_EXPECT" not in environ:
            await body.discard()

    def _serve_with_body(self, body: "Body") -> None:
        with body.stream, self.all:
            self._serve(body.environ, body.proto, closes=body.is_truncated)


class Body:
    """The body of one request: `stream`, which becomes the app's input once it has been received."""

    def __init__(self, environ: "WSGIEnvironment", proto: Any, started: float, timeout_s: float, limit: int) -> None:
        self.environ, self.proto, self.started, self.timeout_s, self.limit = environ, proto, started, timeout_s, limit
        self.declared = int(environ["CONTENT_LENGTH"]) if "CONTENT_LENGTH" in environ else None
        self.is_large = limit > MAX_BODY_BYTES and (self.declared is None or self.declared > MAX_BODY_BYTES)
        self.is_complete = self.is_truncated = False
        self.stream: IO[bytes] = BytesIO()
        self.chunks = self._iterate()

    async def receive(self) -> None:
        """Receive all of it, or learn that it is over the limit, which the app then refuses by its length.

        Raises ServerError if it is late or broken, or there is no room for it.
        """
        if self.declared is not None and self.declared > self.limit:
            self.is_truncated = True
        else:
            try:
                await (self._receive_short() if not self._is_spooled() else self._receive_long())
            except TimeoutError:
                raise ServerError(408) from None
            except OSError:
                log.warning("no room for a request body")
                raise ServerError(503) from None
        self.environ["wsgi.input"] = self.stream

    def _is_spooled(self) -> bool:
        return self.declared is None or self.declared > MAX_BODY_BYTES

    async def _receive_short(self) -> None:
        """Receive a body of known length: in memory, in one step."""
        assert self.declared is not None
        async with asyncio.timeout_at(self._deadline(self.declared)):
            try:
                self.stream = BytesIO(await self.proto())
            except RuntimeError:  # Granian's for a connection that broke, or that ended early
                raise ServerError(400) from None
        self.is_complete = True

    async def _receive_long(self) -> None:
        """Receive a long or chunked body, chunk by chunk; the long ones go to a temporary file.

        Granian reports the end by an empty chunk, an error by an empty chunk before that, and trailers by one too.
        """
        self.stream, length, empty = SpooledTemporaryFile(SPOOL_ABOVE_BYTES), 0, 0  # noqa: SIM115  (closed by Front)
        async with asyncio.timeout_at(self._deadline(0)) as timeout:
            async for chunk in self.chunks:
                empty += not chunk
                length += len(chunk)
                if length > self.limit:
                    self.is_truncated = True
                    break
                self.stream.write(chunk)
                timeout.reschedule(self._deadline(length))
        if not self.is_truncated:
            self.is_complete = True
            if empty > 1 or (self.declared is not None and length < self.declared):
                raise ServerError(400)
        self.stream.seek(0)
        self.environ.pop("HTTP_TRANSFER_ENCODING", None)
        self.environ["CONTENT_LENGTH"] = str(length)

    async def _iterate(self) -> AsyncIterator[bytes]:
        async for chunk in self.proto:
            yield chunk

    def _deadline(self, received_bytes: int) -> float:
        return body_deadline(self.started, self.timeout_s, received_bytes)

    async def discard(self) -> None:
        """Read on for a moment after the response: closed at once, it could be lost (RFC 9112, section 9.6)."""
        try:
            async with asyncio.timeout(LINGER_S):
                async for _ in self.chunks:
                    pass
        except (TimeoutError, RuntimeError):
            pass


def build_environ(scope: Any) -> "WSGIEnvironment":
    """Return the WSGI environment of a request. Raises ServerError for one that is not valid HTTP, or too long."""
    path, query = scope.path, scope.query_string
    if len(path) + len(query) > MAX_LINE_BYTES:
        raise ServerError(414)
    if not query.isascii():
        raise ServerError(400)
    client, _, port = scope.client.rpartition(":")
    environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path if path.isascii() else path.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1" if scope.http_version == "1.1" else "HTTP/1.0",
        "REMOTE_ADDR": client.strip("[]"),
        "REMOTE_PORT": port,
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        **SERVER_FACTS,
    }
    for name, value in scope.headers.items():
        if len(value) > MAX_FIELD_BYTES:
            raise ServerError(431)
        if "_" in name:
            continue  # it would be taken for the header with a hyphen, as which a proxy vouches for it
        key = environ_key(name)
        if key in environ:
            environ[key] += f",{value}"
        else:
            environ[key] = value
    check_head(environ, scope)
    return environ


SERVER_FACTS: dict[str, Any] = {
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}


def check_head(environ: "WSGIEnvironment", scope: Any) -> None:
    """Require what hyper does not: a Host, the same as in an absolute target, and one clear length of the body."""
    host = environ.get("HTTP_HOST")
    if host is None:
        if environ["SERVER_PROTOCOL"] == "HTTP/1.1":
            raise ServerError(400)
    elif not is_valid_host(host) or (scope.authority or host).lower() != host.lower():
        raise ServerError(400)
    length, coding = environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING")
    if length is not None and (coding is not None or not DIGITS.fullmatch(length)):
        raise ServerError(400)
    if coding is not None and coding.lower() != "chunked":
        raise ServerError(400 if coding.lower().startswith("chunked") else 501)


def send_problem(proto: Any, status: int) -> None:
    """Send an error of the server itself; the connection ends with it."""
    proto.response_bytes(status, *server_problem(status))


def serve_app(app: Flask, listener_fd: int, report_ready: Callable[[], None]) -> None:
    """Serve the app on an inherited listening socket until SIGTERM or SIGINT, then finish what has begun."""
    settings = app.extensions["settings"]
    raise_open_file_limit()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    front = Front(app, loop, settings.threads, settings.request_timeout_s)
    stop, stopped = WorkerSignal(), asyncio.Event()
    stop.add_cb(lambda: loop.call_soon_threadsafe(stopped.set))
    worker = build_worker(listener_fd, front.direct_threads + 1, settings.request_timeout_s)
    worker.serve_str(Scheduler(loop, front.handle), loop, stop)

    async def serve() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        report_ready()
        await stopping.wait()
        front.stop()
        await stop_accepting(listener_fd)
        stop.set()
        await stopped.wait()

    loop.run_until_complete(serve())
    front.pool.shutdown(wait=True)


def build_worker(listener_fd: int, threads: int, request_timeout_s: int) -> RSGIWorker:
    """Return Granian's part of the process, which listens on this socket and has so many threads for Python.

    A connection without a request ends after the time that a head may take.
    """
    return RSGIWorker(
        worker_id=1,
        sock=(None, SocketHolder(listener_fd, False, BACKLOG)),
        ipc=None,
        py_threads=threads,
        py_threads_idle_timeout=KEEP_THREADS_S,
        backpressure=MAX_CONNECTIONS,
        http1_opts=HTTP1Settings(header_read_timeout=request_timeout_s * 1000, max_buffer_size=MAX_HEAD_BYTES),
    )


async def stop_accepting(listener_fd: int) -> None:
    """Accept what already waits, then put a socket to which nobody connects in place of the listener.

    Granian would end a connection whose first bytes have not arrived as soon as it is told to stop.
    """
    deadline = time.monotonic() + FIRST_BYTES_S
    while select.select([listener_fd], [], [], 0)[0] and time.monotonic() < deadline:
        await asyncio.sleep(0.001)
    with socket.create_server(("127.0.0.1", 0)) as replacement:
        replacement.setblocking(False)
        os.dup2(replacement.fileno(), listener_fd)
    await asyncio.sleep(FIRST_BYTES_S)
