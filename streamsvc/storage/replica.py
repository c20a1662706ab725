"""Reads on a streaming standby of PostgreSQL, `STREAMSVC_DATABASE_REPLICA_URL`.

A read sees everything that was acknowledged before it, on any node. For that, it asks the primary first, and nothing
about the standby is stored with a session or in a node:

- `read_version`: what follows from the catalogue is read from the standby once that has the version of the catalogue
  that the primary has now. Every edit raises the version in its own transaction. If it follows from rows of a profile
  too, the standby must have the same ones.
- `read_latest`: the primary is asked for its position in the write-ahead log, which is behind all that was committed by
  then. The standby must have replayed as much.

Each process compares both servers once a second (`Replica.check`). Whatever fails, is late or is uncertain is read from
the primary. Access, sessions, playback and money are never read from the standby.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from blinker import Signal
from flask import Flask, current_app
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from streamsvc.rules.refusals.base import Refusal
from streamsvc.settings import current_extensions
from streamsvc.storage.database import AUTOCOMMIT_BIND, REPLICA_BIND, db, is_unavailable, reading_from

CHECK_INTERVAL_S = 1.0
CATCH_UP_S, POLL_INTERVAL_S = 0.05, 0.005
"""How long a read waits for the standby to replay what was committed before it, and how often it asks."""
WRITTEN = sa.text("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
REPLAYED = sa.text("SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint WHERE pg_is_in_recovery()")
CATALOG_VERSION = sa.text("SELECT version FROM catalog_state WHERE id = 1 AND pg_is_in_recovery()")
PRIMARY_STATE = sa.text(
    "SELECT system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int,"
    " pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint FROM pg_control_system()"
)
STANDBY_STATE = sa.text(
    "SELECT system_identifier, (SELECT timeline_id FROM pg_control_checkpoint()),"
    " CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END"
    " FROM pg_control_system()"
)
Result = TypeVar("Result")
read_finished = Signal()
"""Sent by each read that may be the standby's, with the `server` that it was read from: "replica" or "primary"."""
log = logging.getLogger("streamsvc.database")


class ServerState(NamedTuple):
    """The identity of a server's data, its timeline, and its position in the write-ahead log, in bytes.

    The position is None on a server that should be a standby and is not.
    """

    system: int
    timeline: int
    position: int | None


class Replica:
    """The standby as this process knows it. Its thread starts with the first read."""

    def __init__(self, engine: sa.Engine, primary: sa.Engine, max_lag_s: float) -> None:
        self.engine, self.primary, self.max_lag_s = engine, primary, max_lag_s
        self.current_at = float("-inf")
        """The latest time, by the monotonic clock, of which the standby is known to have everything."""
        self.problem = "it was not checked yet"
        self._written: deque[tuple[int, float]] = deque(maxlen=3600)
        """Positions of the primary that the standby has not reached yet, each with its time."""
        self._version = -1
        self._connected: object = None
        self._thread_pid = 0
        self._start_lock = threading.Lock()
        self._stopping = threading.Event()
        event.listen(engine, "connect", self._forget)

    @property
    def lag_s(self) -> float:
        """How old what the standby has may be, in seconds; infinite if that is not known."""
        return time.monotonic() - self.current_at

    def is_usable(self) -> bool:
        """Whether the standby responds and lags by no more than the setting."""
        self._start_thread()
        return self.lag_s <= self.max_lag_s

    def read(self, is_current: Callable[[], bool], work: Callable[[], Result]) -> Result:
        """Return the result of `work`, with its reads from the standby if that `is_current`, else from the primary."""
        connected = self._connected
        try:
            if self.is_usable() and is_current():
                with reading_from(self.engine):
                    result = work()
                if self._connected is connected:  # else it may have restarted with less than it had
                    read_finished.send(server="replica")
                    return result
        except SQLAlchemyError as error:
            if is_unavailable(error):
                self.suspend(type(error).__name__)
        except Refusal:
            if self._connected is connected:
                raise
        if self._connected is not connected:
            current_extensions().pop("catalog", None)  # what is kept of the catalogue may have been read there
        read_finished.send(server="primary")
        return work()

    def has_version(self, version: int) -> bool:
        """Whether the standby has this version of the catalogue, or a later one."""
        if self._version < version:
            connected = self._connected
            found = _fetch(self.engine, CATALOG_VERSION)
            if found is None or self._connected is not connected:
                return False
            self._version = found
        return self._version >= version

    def has_same(self, load: Callable[[], Result], loaded: Result) -> bool:
        """Whether `load` returns from the standby what was loaded from the primary."""
        with reading_from(self.engine):
            return load() == loaded

    def catches_up(self) -> bool:
        """Whether the standby has everything that was committed before this call; waits for it for a moment."""
        written, deadline = _fetch(self.primary, WRITTEN), time.monotonic() + CATCH_UP_S
        while (replayed := _fetch(self.engine, REPLAYED)) is not None:
            if replayed >= written:
                return True
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_INTERVAL_S)
        return False

    def suspend(self, problem: str) -> None:
        """Use the primary until the next check finds the standby in order."""
        self.problem, self.current_at = problem, float("-inf")

    def check(self) -> None:
        """Compare both servers, and note how late the standby is or why it cannot be used."""
        at = time.monotonic()
        try:
            primary, standby = fetch_state(self.primary, PRIMARY_STATE), fetch_state(self.engine, STANDBY_STATE)
        except SQLAlchemyError as error:
            self.suspend(type(error).__name__)
            return
        if problem := find_problem(primary, standby):
            self._written.clear()
            self.suspend(problem)
            return
        self._written.append((primary.position or 0, at))
        while self._written and self._written[0][0] <= (standby.position or 0):
            self.current_at = self._written.popleft()[1]
        self.problem = "" if self.lag_s <= self.max_lag_s else f"it lags by more than {self.max_lag_s} s"

    def _forget(self, *_: object) -> None:
        """Forget what the standby had: a new connection may be to one that has restarted."""
        self._connected, self._version = object(), -1

    def _start_thread(self) -> None:
        if self._thread_pid == os.getpid():
            return
        with self._start_lock:
            if self._thread_pid != os.getpid():
                self._thread_pid = os.getpid()
                self._thread = threading.Thread(target=self._run, name="replica check", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the checks, before the engines are disposed of."""
        self._stopping.set()
        if self._thread_pid == os.getpid():
            self._thread.join()

    def _run(self) -> None:
        logged = ""
        while not self._stopping.is_set():
            self.check()
            if self.problem != logged:
                logged = self.problem
                state = f"not used: {self.problem}" if self.problem else "used"
                log.warning("the database replica is %s", state)
            self._stopping.wait(CHECK_INTERVAL_S)


def init_app(app: Flask, max_lag_s: float) -> None:
    with app.app_context():
        app.extensions["replica"] = Replica(db.engines[REPLICA_BIND], db.engines[AUTOCOMMIT_BIND], max_lag_s)


def find_replica() -> Replica | None:
    """Return the current app's replica; None without the setting."""
    replica: Replica | None = current_app.extensions.get("replica")
    return replica


def read_version(
    version: int | None, work: Callable[[], Result], load_rest: Callable[[], tuple] = tuple, rest: tuple = ()
) -> Result:
    """Return the result of `work`, which reads what follows from this version of the catalogue, or a later one.

    `load_rest` reads the rest that it follows from, if there is any; `rest` is what that returned from the primary.
    `work` may be called twice.
    """
    replica = find_replica()
    if replica is None or version is None:
        return work()
    return replica.read(lambda: replica.has_version(version) and replica.has_same(load_rest, rest), work)


def read_latest(work: Callable[[], Result]) -> Result:
    """Return the result of `work`, which reads anything that was committed before this call.

    `work` may be called twice.
    """
    replica = find_replica()
    return work() if replica is None else replica.read(replica.catches_up, work)


def find_problem(primary: ServerState, standby: ServerState) -> str:
    """Return why the second server is no standby to read from; empty if it is one."""
    if standby.system != primary.system:
        return "it is not a standby of this primary: its system identifier is another one"
    if standby.position is None:
        return "it is not a standby: it accepts writes itself"
    if standby.timeline != primary.timeline:
        return f"it is on timeline {standby.timeline}, the primary on {primary.timeline}"
    return ""


def fetch_state(engine: sa.Engine, statement: sa.TextClause) -> ServerState:
    """Ask a server for its state. Raises SQLAlchemyError."""
    with engine.connect() as connection:
        return ServerState(*connection.execute(statement).one())


def _fetch(engine: sa.Engine, statement: sa.TextClause) -> Any:
    with engine.connect() as connection:
        return connection.scalar(statement)
