"""Leases: a row is worked on by one process at a time, until a moment on the database's clock.

The columns are `lease`, a token, and `leased_until`. A thread of each process renews the leases of work that is still
running, so that a lease can be short: the work of a process that died is free again after a few seconds. A process that
was stopped for longer has lost its lease; whoever finishes work therefore proves in the same transaction, by the token,
that the lease is still its own.
"""

import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from streamsvc.storage.database import AUTOCOMMIT_BIND, SQLITE_TIME_FUNCTION, UtcTime, db, relaxable_connection
from streamsvc.storage.durability import Relaxed

LEASE_S = 4.0
RENEWAL_INTERVAL_S = 1.0
log = logging.getLogger("streamsvc.leases")


class database_time(FunctionElement[datetime]):
    """The current time of the database, plus a number of seconds: `database_time(4.0)`. Same for all its clients.

    SQLite has no time of its own: there it is the machine's, without its jumps (`clock.wall_time`).
    """

    type = UtcTime()
    inherit_cache = True


@compiles(database_time, "postgresql")
def _compile_for_postgresql(element: database_time, compiler: Any, **kwargs: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kwargs)}))"


@compiles(database_time, "sqlite")
def _compile_for_sqlite(element: database_time, compiler: Any, **kwargs: Any) -> str:
    return f"{SQLITE_TIME_FUNCTION}({compiler.process(element.clauses, **kwargs)})"


def new_token() -> str:
    """Return a new token for a lease."""
    return secrets.token_hex(8)


def lease_end() -> database_time:
    """Return the SQL expression for the end of a lease that begins now."""
    return database_time(LEASE_S)


def is_free(leased_until: Any) -> sa.ColumnElement[bool]:
    """Return the condition that nobody holds a lease. One that ends too late began before the clock was set back."""
    now, latest_end = database_time(sa.literal(0.0)), database_time(sa.literal(2 * LEASE_S))
    return sa.or_(leased_until.is_(None), leased_until < now, leased_until > latest_end)


@dataclass(frozen=True)
class _Held:
    engine: sa.Engine
    table: sa.Table
    id: str
    token: str
    renew_from: float
    """Monotonic time, in seconds."""


_held: set[_Held] = set()
_lock = threading.Lock()
_renewer: threading.Thread | None = None


@contextmanager
def renewed(table: sa.Table, held: Iterable[tuple[str, str]]) -> Iterator[None]:
    """Renew leases, given as (id, token), while the block runs."""
    engine, renew_from = db.engines[AUTOCOMMIT_BIND], time.monotonic() + RENEWAL_INTERVAL_S
    leases = {_Held(engine, table, id_, token, renew_from) for id_, token in held}
    with _lock:
        _held.update(leases)
        _start_renewer()
    try:
        yield
    finally:
        with _lock:
            _held.difference_update(leases)


def _start_renewer() -> None:
    global _renewer
    if _renewer is None:
        _renewer = threading.Thread(target=_renew_forever, name="lease renewal", daemon=True)
        _renewer.start()


def _renew_forever() -> None:
    while True:
        time.sleep(RENEWAL_INTERVAL_S)
        with _lock:
            due = [lease for lease in _held if lease.renew_from <= time.monotonic()]
        for engine, table in {(lease.engine, lease.table) for lease in due}:
            _renew(engine, table, [lease for lease in due if (lease.engine, lease.table) == (engine, table)])


def _renew(engine: sa.Engine, table: sa.Table, leases: list[_Held]) -> None:
    """Renew leases that are still ours; a failure is logged, since only their owner can give the work up."""
    has_our_id = table.c.id.in_([lease.id for lease in leases])  # SQLite finds no rows by a tuple: it would read all
    is_ours = sa.tuple_(table.c.id, table.c.lease).in_([(lease.id, lease.token) for lease in leases])
    renewable = sa.select(table.c.id).where(has_our_id, is_ours)
    renewable = renewable.with_for_update(skip_locked=True)  # locked: its owner writes it
    renewal = sa.update(table).where(table.c.id.in_(renewable)).values(leased_until=lease_end())
    try:
        with relaxable_connection(engine, renewal, Relaxed.LEASE) as (connection, statement):
            connection.execute(statement)
    except sa.exc.SQLAlchemyError as error:
        log.warning("could not renew %d leases of %s: %r", len(leases), table.name, error)


def _forget_leases_of_parent() -> None:
    """Start anew in a forked process: neither the thread nor the leases of its parent are its own."""
    global _renewer, _lock
    _renewer, _lock = None, threading.Lock()
    _held.clear()


os.register_at_fork(after_in_child=_forget_leases_of_parent)
