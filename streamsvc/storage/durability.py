"""Which writes a crash of the database may lose: those of `Relaxed`, and no others.

All other writes are on disk before they are acknowledged. A relaxed write is never left half done, and any durable
write that follows it takes it to disk too, since both databases write one log in order.

PostgreSQL relaxes the transaction by `set_config(…, true)` within the statement itself, so that nothing stays behind on
the connection, which a pooler may lend to somebody else next. SQLite has a setting per connection, which is put back:
after each relaxed write, or by a thread that keeps its connection, before its next durable write.
"""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

SYNCHRONOUS, SYNCHRONOUS_RELAXED = "FULL", "NORMAL"
"""SQLite's levels: with FULL each commit waits for the disk, with NORMAL only checkpoints do."""
_LEVEL = "synchronous"
"""Key in a connection's `info`: its level, where it was changed."""
RELAX_TRANSACTION = "SET LOCAL synchronous_commit = off"
_relaxes = sa.func.set_config("synchronous_commit", "off", sa.true()).is_not(None)


class Relaxed(enum.Enum):
    """The writes that a crash of the database may lose, and what each of them is; listed in docs/reliability.md."""

    SESSION_USE = "when a session was last used"
    API_KEY_USE = "when an API key was last used"
    STREAM_HEARTBEAT = "the heartbeat of a stream that goes on, and the position it saves"
    WORKER_HEARTBEAT = "the heartbeat of a worker"
    RATE_LIMIT = "the counters of rate limits"
    DEVICE_CODE_POLL = "when a television may ask again for its sign-in"
    LEASE = "the lease of a job or of an idempotency key"


def relax_on_postgresql(clause: Any) -> Any:
    """Return a writing statement that does not wait for the disk if it is a transaction of its own.

    An INSERT must not return rows: the setting needs its RETURNING clause.
    """
    if isinstance(clause, sa.Insert):
        assert not clause.exported_columns, "a relaxed INSERT cannot return rows"
        return clause.returning(_relaxes)
    return clause.where(_relaxes)


@contextmanager
def relaxed_on_sqlite(raw: Any) -> Iterator[None]:
    """Let what the connection of the driver commits within the block not wait for the disk."""
    _execute_pragma(raw, SYNCHRONOUS_RELAXED)
    try:
        yield
    finally:
        _execute_pragma(raw, SYNCHRONOUS)


def set_sqlite_level(connection: PoolProxiedConnection, relaxed: Relaxed | None) -> None:
    """Let the writes of a thread's own connection wait for the disk or not, until the next call or its return."""
    level = SYNCHRONOUS_RELAXED if relaxed else SYNCHRONOUS
    if connection.info.get(_LEVEL, SYNCHRONOUS) != level:
        _execute_pragma(connection, level)
        connection.info[_LEVEL] = level


def restore_sqlite_level(raw: Any, record: ConnectionPoolEntry) -> None:
    """Have a connection that returns to the pool wait for the disk again."""
    if raw is not None and record.info.pop(_LEVEL, SYNCHRONOUS) != SYNCHRONOUS:
        _execute_pragma(raw, SYNCHRONOUS)


def _execute_pragma(connection: Any, level: str) -> None:
    connection.execute(f"PRAGMA synchronous={level}")
