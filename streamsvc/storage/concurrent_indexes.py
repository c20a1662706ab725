"""Indexes of existing tables for migrations: PostgreSQL builds them without blocking writers.

That takes several transactions, so a migration that uses these functions does nothing else: after a crash it starts
again, and must find nothing of its own but an unfinished index.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import op

from streamsvc.storage.postgresql import configure_if_direct

BUILD_LOCK_TIMEOUT = "10min"
"""How long a build waits for transactions that began before it; nobody waits for the build meanwhile."""


def create_index_concurrently(name: str, table: str, columns: list[Any], **options: Any) -> None:
    """Create an index, and first drop what an earlier attempt has left of it."""
    if op.get_bind().dialect.name != "postgresql":
        op.create_index(name, table, columns, **options)
        return
    with _outside_of_transactions():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
        op.create_index(name, table, columns, postgresql_concurrently=True, **options)


def drop_index_concurrently(name: str, table: str) -> None:
    """Drop an index, if it is there."""
    if op.get_bind().dialect.name != "postgresql":
        op.drop_index(name, table, if_exists=True)
        return
    with _outside_of_transactions():
        op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)


@contextmanager
def _outside_of_transactions() -> Iterator[None]:
    with op.get_context().autocommit_block():
        raw: Any = op.get_bind().connection.dbapi_connection
        configure_if_direct(raw, BUILD_LOCK_TIMEOUT, statement_timeout="0")
        yield
        configure_if_direct(raw, statement_timeout="0")
