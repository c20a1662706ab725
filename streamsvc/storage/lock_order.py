"""The order in which a transaction takes its locks, so that no two transactions can wait for each other.

Every lock is noted by the function that takes it. In the sandbox, and so in the tests, a lock taken out of order raises
LockOrderError; otherwise noting costs nothing. Several locks of one rank are taken in the order of their keys. A lock
that is already held may be taken again at any time. Single guarded statements, and the worker's `SKIP LOCKED`, hold a
lock for one statement and have no rank. SQLite has one writer at a time and needs no locks, but is checked as well.
"""

from enum import IntEnum

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

_HELD = "held locks"


class Rank(IntEnum):
    """The locks, first to last."""

    STREAM_CLAIMS = 1
    """Advisory, per account: one claim of a playback slot at a time. A claim that evicts a device locks the account."""
    ACCOUNT = 2
    """The account's row: everything that changes a subscription, an invoice, credentials or profiles takes it first."""
    HOUSEHOLD = 3
    """Advisory, per card and per device: who decides which trials and introductory prices a household gets."""
    ADMINS = 4
    """The rows of all active admins, so that the last one stays."""
    OPERATOR = 5
    """The row of an operator or of an API key."""
    CREDENTIAL = 6
    """The row of a passkey, or of a device that is trusted with the second factor."""
    CATALOG = 7
    """The catalogue's only state row: one writer at a time."""
    IMPORT = 8
    """The row of a catalogue import."""
    INVOICE_NUMBERS = 9
    """The row of a series; taken late, since it blocks everyone who issues an invoice."""
    AUDIT_CHAIN = 10
    """Advisory: the end of the audit log, taken by the commit itself."""


TABLE_RANKS = {
    "operators": Rank.OPERATOR,
    "api_keys": Rank.OPERATOR,
    "accounts": Rank.ACCOUNT,
    "passkeys": Rank.CREDENTIAL,
    "device_trusts": Rank.CREDENTIAL,
    "catalog_state": Rank.CATALOG,
    "imports": Rank.IMPORT,
}
"""The rank of the rows of each table that `lock_row` may lock."""


class LockOrderError(Exception):
    """A lock was taken after one that must come later."""


_checked_sessions: set[type[Session]] = set()


def check_lock_order(session_class: type[Session]) -> None:
    """Check the order of all locks from now on, in sessions of this class. Cannot be undone within the process."""
    if session_class not in _checked_sessions:
        _checked_sessions.add(session_class)
        event.listen(session_class, "after_transaction_end", _forget_locks)


def note_lock(session: Session, rank: Rank, key: object = "") -> None:
    """Note that the transaction is about to take this lock, which it holds until it ends. Raises LockOrderError."""
    if not _checked_sessions:
        return
    lock, held = (rank, str(key)), session.info.setdefault(_HELD, set())
    if held and lock not in held and lock < max(held):
        raise LockOrderError(f"{_describe(lock)} must be locked before {_describe(max(held))}")
    held.add(lock)


def note_row_lock(session: Session, table: str, key: object) -> None:
    """Note that the transaction is about to lock this row.

    Raises LockOrderError, also if the table has no rank.
    """
    if not _checked_sessions:
        return
    if table not in TABLE_RANKS:
        raise LockOrderError(f"give the rows of {table} a rank in TABLE_RANKS")
    note_lock(session, TABLE_RANKS[table], key)


def _describe(lock: tuple[Rank, str]) -> str:
    return " ".join((lock[0].name, lock[1])).strip()


def _forget_locks(session: Session, transaction: SessionTransaction) -> None:
    """Forget the locks at the end of the transaction; those of a savepoint count until then."""
    if transaction.parent is None:
        session.info.pop(_HELD, None)
