"""Settings of connections to PostgreSQL, which hold whether they are direct or go through a pooler.

A pooler in transaction mode, such as PgBouncer, lends a connection of its own to a client for one transaction. What a
client sets for its session then reaches strangers, and is gone in its own next transaction. So only a connection that
is direct is configured as a whole. A transaction of several statements configures itself, when it begins. A single
statement through a pooler has the settings of its role; `configure_connections` warns if those are missing. The time
zone is safe to set: the server reports it to its clients, so poolers know whose it is.

A connection is direct if the process that serves it is the one that the server named when it was opened; a pooler
names a number of its own.
"""

import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

LOCK_TIMEOUT, STATEMENT_TIMEOUT = "2s", "30s"
"""How long a statement may wait for a lock, and take."""
BEGIN = (
    "BEGIN; SET LOCAL synchronous_commit = on;"
    f" SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'"
)
_CONFIGURE_IF_DIRECT = (
    "SELECT set_config('timezone', 'UTC', false), CASE WHEN pg_backend_pid() = %s"
    " THEN set_config('synchronous_commit', 'on', false) || set_config('lock_timeout', %s, false)"
    " || set_config('statement_timeout', %s, false) END"
)
_ROLE_SETTINGS = (
    "SELECT current_setting('synchronous_commit') = 'off' OR current_setting('lock_timeout') = '0'"
    " OR current_setting('statement_timeout') = '0', current_user"
)
log = logging.getLogger("streamsvc.database")


def configure_connections(engine: sa.Engine, prepared_statements: str) -> None:
    """Set the options of each new connection, and let the driver begin no transactions by itself.

    `prepared_statements`: "on", "off", or "auto" for those of direct connections only.
    """
    has_warned = False

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _: object) -> None:
        nonlocal has_warned
        raw.autocommit = True
        is_direct = configure_if_direct(raw)
        if prepared_statements == "off" or (prepared_statements == "auto" and not is_direct):
            raw.prepare_threshold = None
        if is_direct or has_warned:
            return
        lacks_settings, role = raw.execute(_ROLE_SETTINGS).fetchone()
        if lacks_settings:
            has_warned = True
            log.warning(
                "the database is behind a pooler, so single statements have the settings of the role %s, and lack some:"
                " run ALTER ROLE %s SET lock_timeout = '%s'; the same with statement_timeout = '%s' and"
                " synchronous_commit = 'on'",
                *(role, role, LOCK_TIMEOUT, STATEMENT_TIMEOUT),
            )


def configure_if_direct(raw: Any, lock_timeout: str = LOCK_TIMEOUT, statement_timeout: str = STATEMENT_TIMEOUT) -> bool:
    """Set the timeouts of a driver's connection and make its commits durable, unless it goes through a pooler.

    Returns whether it is direct.
    """
    parameters = raw.info.backend_pid, lock_timeout, statement_timeout
    return raw.execute(_CONFIGURE_IF_DIRECT, parameters).fetchone()[1] is not None


def configure_transactions(engine: sa.Engine) -> None:
    """Make each transaction durable and limit how long its statements take, in the same round trip as its BEGIN."""

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(BEGIN)
