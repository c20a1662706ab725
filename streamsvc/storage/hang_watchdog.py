"""Notices a PostgreSQL server that hangs, and ends the statements that wait for it.

A server that is frozen keeps its connections open, and its own timeouts stop with it: the client needs a deadline. A
statement that merely takes long must not be ended, so a statement that waits for `SUSPECT_AFTER_S` is only a reason to
ask the server something trivial on a connection of its own. Without a response within `PROBE_TIMEOUT_S`, to this
or to any other statement, the sockets of the waiting statements are shut down, and further statements fail at once
until the server responds again. Behind a pooler whose connections are all in use, only other statements show that it
does.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event

CHECK_INTERVAL_S = 0.1
SUSPECT_AFTER_S, PROBE_TIMEOUT_S = 0.5, 0.7
PROBE_INTERVAL_S = 0.5
"""How often a server that responds is asked again while a statement takes long."""


class HangWatchdog:
    """Watches the connections of the engines of one app. Its thread starts with the first statement."""

    def __init__(self) -> None:
        self.waiting: dict[WatchedConnection, float] = {}
        self.is_hung = False
        self.responded_at = 0.0
        """When the server last responded to a statement."""
        self.connect_arguments: tuple[tuple, dict[str, Any]] | None = None
        self.has_work = threading.Event()
        self.probe: threading.Thread | None = None
        self.has_responded = False
        self._thread_pid = 0
        self._start_lock = threading.Lock()

    def watch(self, engine: sa.Engine) -> None:
        """Make the engine's connections watched ones."""

        @event.listens_for(engine, "do_connect")
        def connect(dialect: object, record: object, arguments: list, options: dict) -> "WatchedConnection":
            if self.is_hung:
                raise psycopg.OperationalError("the database does not respond")
            connection = WatchedConnection.connect(*arguments, **options)
            connection.watchdog = self
            self.connect_arguments = tuple(arguments), {**options, "autocommit": True}
            self._start_thread()
            return connection

    def _start_thread(self) -> None:
        with self._start_lock:
            if self._thread_pid != os.getpid():
                self._thread_pid = os.getpid()
                threading.Thread(target=self._run, name="hang watchdog", daemon=True).start()

    def _run(self) -> None:
        next_probe = 0.0
        while True:
            self.has_work.wait()
            time.sleep(CHECK_INTERVAL_S)
            now = time.monotonic()
            if not self.is_hung and not self.waiting:
                self.has_work.clear()
                if self.waiting:  # since that was decided
                    self.has_work.set()
                continue
            is_suspect = any(now - since > SUSPECT_AFTER_S for since in list(self.waiting.values()))
            if not self.is_hung and (not is_suspect or now < next_probe):
                continue
            self.is_hung = not self._is_responding()
            next_probe = time.monotonic() + PROBE_INTERVAL_S
            if self.is_hung:
                self._end_statements()

    def _is_responding(self) -> bool:
        """Whether the server responds in time, or has by now to a probe that was still waiting."""
        asked_at = time.monotonic()
        if self.probe is None or not self.probe.is_alive():
            self.has_responded = False
            self.probe = threading.Thread(target=self._probe, name="hang probe", daemon=True)
            self.probe.start()
        self.probe.join(PROBE_TIMEOUT_S)
        return self.has_responded or self.responded_at > asked_at

    def _probe(self) -> None:
        assert self.connect_arguments is not None
        arguments, options = self.connect_arguments
        try:
            with psycopg.connect(*arguments, **options) as connection:
                connection.execute("SELECT 1")
        except psycopg.errors.ConnectionTimeout:
            return
        except psycopg.Error:
            pass  # a server that refuses does not hang
        self.has_responded = True

    def _end_statements(self) -> None:
        """Shut down the sockets of the statements in progress; their threads get an OperationalError."""
        for connection in list(self.waiting):
            with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)


class WatchedConnection(psycopg.Connection):
    """A connection that tells its watchdog when it waits for the server, and does not while the server hangs."""

    watchdog: HangWatchdog | None = None

    def wait(self, *args: Any, **options: Any) -> Any:
        if self.watchdog is None:
            return super().wait(*args, **options)
        if self.watchdog.is_hung:
            self.close()
            raise psycopg.OperationalError("the database does not respond")
        self.watchdog.waiting[self] = time.monotonic()
        if not self.watchdog.has_work.is_set():
            self.watchdog.has_work.set()
        try:
            result = super().wait(*args, **options)
            self.watchdog.responded_at = time.monotonic()
            return result
        finally:
            self.watchdog.waiting.pop(self, None)
