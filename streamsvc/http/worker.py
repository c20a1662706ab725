"""The gunicorn worker class: a request gets a thread only when it has arrived as a whole.

gunicorn's own threaded worker reads requests in its threads, so that as many slow clients as there are threads stop the
service. Here the event loop reads all of them, and each has deadlines: a client may be as slow as it likes, it costs a
socket. Written against gunicorn 27; setup.cfg pins it.

Handing a request to a thread and its connection back costs more than a hot read. So the thread that runs the event
loop, the leader, serves hot reads itself. Meanwhile it lets go of the loop: if the read takes longer than `PATIENCE_S`,
say because the disk does not respond, the main thread runs the loop, and hands every request to a thread, until the
leader is back. Whoever holds the lock `loop` runs the loop; nobody else may touch its connections.
"""

import errno
import math
import os
import select
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn import util
from gunicorn.http.wsgi import FileWrapper
from gunicorn.workers.gthread import TConn, ThreadWorker

from streamsvc.http.gunicorn_wsgi import OnePacketResponse, base_environ, build_environ
from streamsvc.http.request_limits import (
    KEEPALIVE_AFTER_STOP_S,
    LINGER_S,
    MAX_LARGE_BODIES,
    RESERVED_PATH,
    body_deadline,
    raise_open_file_limit,
)
from streamsvc.http.request_reader import RequestReader
from streamsvc.http.serving_threads import PATIENCE_S, ServingThreads
from streamsvc.settings import Settings

if TYPE_CHECKING:
    from streamsvc.http.hot_reads import HotReads

RECEIVE_BYTES = 64 * 1024
SWEEP_INTERVAL_S = 0.5
SEND_BUFFER_BYTES, SEND_TIMEOUT_S = 256 * 1024, 30
"""A response that fits into the buffer is sent at once, however slowly the client reads it."""
MAX_ALL_UNSENT_BYTES = 64 << 20
"""The most bytes of all responses together that wait in memory for clients that read slowly."""
CLIENT_HAS_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
NOTHING_TO_ACCEPT = (errno.EAGAIN, errno.EWOULDBLOCK)


class Connection(TConn):
    """A client's connection.

    `deadline`: when it is closed if what it waits for has not arrived. `act`: what is done once that arrives.
    `polled_for`: the event that the poller reports; 0: none.
    """

    act: Callable[["Connection"], None]

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT_S, 0))
        self.reader = RequestReader(cfg, client)
        self.started = self.deadline = 0.0
        self.polled_for = 0
        self.is_idle = self.is_closing = self.was_told_to_continue = False
        self.unsent = bytearray()


class BufferingWorker(ThreadWorker):
    """A threaded worker whose event loop reads the requests, and serves hot reads."""

    alive: bool
    hot_reads: "HotReads | None" = None
    """What the leader serves; None: nothing, as on PostgreSQL, whose round trips would follow one after the other."""

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        if cfg.is_ssl:
            raise RuntimeError("streamsvc does not terminate TLS; put a proxy in front of it")

    def init_process(self) -> None:
        self.request_timeout_s = Settings.from_env().request_timeout_s
        self.waiting: dict[Connection, None] = {}  # for bytes of their clients; the longest waiting first
        self.next_sweep = 0.0
        self.reserved_thread = ServingThreads(1, self._serve, takes_turns=False)
        self.served: deque[tuple[Connection, bool]] = deque()
        self.is_woken = False
        self.base_environ = base_environ(self.cfg)
        self.loop = threading.Lock()
        self.may_serve = False  # whether the thread that runs the loop may serve a hot read; only the leader may
        self.serving_since = math.inf  # the hot read that the leader serves
        self.is_watched = self.leader_is_back = False
        raise_open_file_limit()
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        extensions = getattr(self.wsgi, "extensions", {})
        if "hot_reads" in extensions and extensions["settings"].is_sqlite:
            self.hot_reads = extensions["hot_reads"]

    def get_thread_pool(self) -> ServingThreads:
        return ServingThreads(self.cfg.threads, self._serve, takes_turns=Settings.from_env().is_sqlite)

    def run(self) -> None:
        self.poller.register(self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks)
        self.set_accept_enabled(True)
        threading.Thread(target=self._lead, name="event loop", daemon=True).start()
        while self.alive and self.is_parent_alive():
            self._watch()
        self.alive = False
        self.method_queue.defer(lambda: None)  # so that the leader sees it
        self.loop.acquire()  # for good
        self._drain()
        self.tpool.shutdown(wait=False)
        self.reserved_thread.shutdown(wait=False)
        self.poller.close()
        self.method_queue.close()

    def _lead(self) -> None:
        """Run the event loop, in a thread of its own, until the process stops."""
        with self.loop:
            try:
                self.may_serve = self.hot_reads is not None
                while self.alive:
                    self._run_once()
            except BaseException:
                self.log.exception("the event loop failed")
            self.alive = self.may_serve = False
        os.write(self.PIPE[1], b".")  # so that the main thread sees it

    def _watch(self) -> None:
        """Wait for the leader to serve a hot read, and run the loop in its place if that takes long.

        gunicorn's pipe also wakes this thread, the main one, for signals.
        """
        if not select.select([self.PIPE[0]], [], [], SWEEP_INTERVAL_S)[0]:
            return
        os.read(self.PIPE[0], RECEIVE_BYTES)
        self.is_watched = False
        time.sleep(PATIENCE_S)
        if time.monotonic() - self.serving_since > PATIENCE_S and self.loop.acquire(blocking=False):
            while self.alive and not self.leader_is_back:
                self._run_once()
            self.loop.release()

    def _serve_as_leader(self, connection: Connection) -> None:
        """Serve a hot read without the loop, and go on with the loop, or wait until the main thread returns it."""
        self.may_serve, self.serving_since = False, time.monotonic()
        if not self.is_watched:
            self.is_watched = True
            os.write(self.PIPE[1], b".")
        self.loop.release()
        keep = self.handle(connection)
        self.serving_since = math.inf
        if self.loop.acquire(blocking=False):
            self.finish_request(connection, keep)
        else:
            self.leader_is_back = True
            self._return_served(connection, keep)
            self.loop.acquire()
            self.leader_is_back = False
        self.may_serve = True

    def _run_once(self) -> None:
        self.wait_for_and_dispatch_events(SWEEP_INTERVAL_S)
        now = time.monotonic()
        if now >= self.next_sweep:
            self.next_sweep = now + SWEEP_INTERVAL_S
            self.notify()
            for connection in [c for c in self.waiting if c.deadline <= now]:
                self._expire(connection)

    def _drain(self) -> None:
        """Stop: serve whoever has already connected, then close."""
        self.set_accept_enabled(False)
        for listener in self.sockets:
            while self.accept(listener):
                pass
            listener.close()
        now = time.monotonic()
        for connection in self.waiting:
            if connection.is_idle:
                connection.deadline = min(connection.deadline, now + KEEPALIVE_AFTER_STOP_S)
        while self.nr_conns > 0 and time.monotonic() < now + self.cfg.graceful_timeout:
            self._run_once()

    def accept(self, listener: Any) -> bool:
        """Accept a connection; False if none is waiting. At the limit, the one that has waited longest makes room."""
        if self.nr_conns >= self.worker_connections and not self._evict():
            return False
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in NOTHING_TO_ACCEPT:
                return False
            if error.errno in OUT_OF_FILES:
                return self._evict()
            if error.errno != errno.ECONNABORTED:
                raise
            return True
        self.nr_conns += 1
        connection = Connection(self.cfg, sock, client, listener.getsockname())
        self._await_request(connection, self.request_timeout_s)
        self._receive(connection)
        return True

    def _evict(self) -> bool:
        """Close the connection that has waited longest for its client; False if all are being served."""
        connection = next(iter(self.waiting), None)
        if connection is None:
            return False
        self._close(connection)
        return True

    def _await_request(self, connection: Connection, timeout_s: float) -> None:
        connection.started = time.monotonic()
        connection.is_idle, connection.was_told_to_continue = True, False
        self._wait(connection, connection.started + timeout_s, self._receive)

    def _wait(self, connection: Connection, deadline: float, act: Any, event: int = selectors.EVENT_READ) -> None:
        connection.deadline, connection.act = deadline, act
        self.waiting[connection] = None
        if connection.polled_for != event:
            self._stop_polling(connection)
            self.poller.register(connection.sock, event, partial(self._on_event, connection))
            connection.polled_for = event

    def _on_event(self, connection: Connection, _sock: object) -> None:
        if connection in self.waiting:
            connection.act(connection)
        else:
            self._stop_polling(connection)  # the leader serves it

    def _stop_waiting(self, connection: Connection) -> None:
        self.waiting.pop(connection, None)
        self._stop_polling(connection)

    def _stop_polling(self, connection: Connection) -> None:
        if connection.polled_for:
            self.poller.unregister(connection.sock)
            connection.polled_for = 0

    def _receive(self, connection: Connection) -> None:
        """Read what has arrived; have the request served once it is complete."""
        try:
            data = connection.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        if data:
            self._read(connection, data)
        elif connection.is_idle:
            self._close(connection)
        else:
            self._refuse(connection, 400, "Bad Request")

    def _read(self, connection: Connection, data: bytes) -> None:
        reader = connection.reader
        if connection.is_idle and data:
            connection.is_idle = False
            connection.started = time.monotonic()
            connection.deadline = connection.started + self.request_timeout_s
        try:
            reader.feed(data)
        except OSError:
            self.log.warning("no room for a request body")
            self._refuse(connection, 503, "Service Unavailable")
            return
        except Exception as error:
            self.handle_error(None, connection.sock, connection.client, error)
            self._linger(connection)
            return
        if reader.is_complete:
            del self.waiting[connection]
            self.enqueue_req(connection)
            return
        if reader.request is not None:
            self._await_body(connection)

    def _await_body(self, connection: Connection) -> None:
        reader = connection.reader
        if reader.has_large_body and sum(c.reader.has_large_body for c in self.waiting) > MAX_LARGE_BODIES:
            self._refuse(connection, 503, "Service Unavailable")
            return
        connection.deadline = body_deadline(connection.started, self.request_timeout_s, reader.body_bytes)
        if reader.expects_continue and not connection.was_told_to_continue:
            connection.was_told_to_continue = True
            try:
                connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            except OSError:
                self._close(connection)

    def enqueue_req(self, connection: Connection) -> None:
        """Serve a complete request: a hot read in this thread, if it is the leader, others in one of the threads.

        The liveness check has a thread of its own, so that it never waits.
        """
        request = connection.reader.request
        assert request is not None
        if self.may_serve and self.hot_reads and request.method == "GET" and self.hot_reads.find(request.path):
            self._serve_as_leader(connection)
            return
        self._stop_polling(connection)
        threads = self.reserved_thread if request.path == RESERVED_PATH else self.tpool
        threads.submit(connection)

    def _serve(self, connection: Connection) -> None:
        """Serve a request, in a thread."""
        self._return_served(connection, self.handle(connection))

    def _return_served(self, connection: Connection, keep: bool) -> None:
        """Return a connection to the event loop, and wake it unless it has yet to see an earlier one."""
        self.served.append((connection, keep))
        if not self.is_woken:
            self.is_woken = True
            self.method_queue.defer(self._finish_served)

    def handle(self, connection: Connection) -> bool:
        """Call the app and send its response; returns whether the connection can be used again."""
        request = connection.reader.request
        try:
            return self._respond(connection, request)
        except OSError as error:
            if error.errno not in CLIENT_HAS_GONE:
                self.log.exception("Error handling request")
        except BaseException as error:
            self.handle_error(request, connection.sock, connection.client, error)
        return False

    def _respond(self, connection: Connection, request: Any) -> bool:
        response = OnePacketResponse(request, connection.sock, self.cfg, connection.unsent)
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        if not self.alive:
            response.force_close()
        try:
            chunks = self.wsgi(build_environ(self.base_environ, request, connection), response.start_response)
            try:
                if isinstance(chunks, FileWrapper):
                    response.write_file(chunks)
                else:
                    for chunk in chunks:
                        response.write(chunk)
                response.close()
            finally:
                if hasattr(chunks, "close"):
                    chunks.close()
        except Exception as error:
            if isinstance(error, OSError) or not response.headers_sent:
                raise
            self.log.exception("Error handling request")
            return False  # without an error document, which could be taken for the rest of the response
        return not response.should_close()

    def _finish_served(self) -> None:
        self.is_woken = False  # before the look: whoever is served from now on wakes the loop again
        while self.served:
            self.finish_request(*self.served.popleft())

    def finish_request(self, connection: Connection, keep: bool) -> None:
        """After a response: send its rest, if any, then wait for the connection's next request, or close it."""
        connection.reader.close()
        if not connection.unsent:
            self._end_request(connection, keep)
            return
        connection.is_closing = True  # unless the client reads the rest in time
        send = partial(self._send_rest, keep=keep)
        self._wait(connection, time.monotonic() + SEND_TIMEOUT_S, send, selectors.EVENT_WRITE)
        while sum(len(c.unsent) for c in self.waiting) > MAX_ALL_UNSENT_BYTES:
            self._close(next(c for c in self.waiting if c.unsent))

    def _send_rest(self, connection: Connection, keep: bool) -> None:
        """Send what the client has room for."""
        try:
            del connection.unsent[: connection.sock.send(connection.unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        connection.deadline = time.monotonic() + SEND_TIMEOUT_S
        if not connection.unsent:
            self._stop_waiting(connection)
            connection.is_closing = False
            self._end_request(connection, keep)

    def _end_request(self, connection: Connection, keep: bool) -> None:
        finished = connection.reader
        if not keep:
            if finished.is_truncated or finished.buffer:
                self._linger(connection)
            else:
                self._close(connection)
            return
        connection.reader = RequestReader(self.cfg, connection.client)
        self._await_request(connection, self.cfg.keepalive if self.alive else KEEPALIVE_AFTER_STOP_S)
        if finished.buffer:  # the client sent its next request before it had this response
            self._read(connection, bytes(finished.buffer))

    def _expire(self, connection: Connection) -> None:
        if connection.is_closing or connection.is_idle:
            self._close(connection)
        else:
            self._refuse(connection, 408, "Request Timeout")

    def _refuse(self, connection: Connection, status: int, reason: str) -> None:
        try:
            util.write_error(connection.sock, status, reason, "")
        except OSError:
            self.log.debug("the client has gone")
        self._linger(connection)

    def _linger(self, connection: Connection) -> None:
        """Close once the client has, or after a moment: closed at once, the response could be lost (RFC 9112, 9.6)."""
        self._stop_waiting(connection)
        connection.reader.close()
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        connection.is_closing = True
        self._wait(connection, time.monotonic() + LINGER_S, self._discard)

    def _discard(self, connection: Connection) -> None:
        try:
            if connection.sock.recv(RECEIVE_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        connection.reader.close()
        self.nr_conns -= 1
        util.close(connection.sock)
