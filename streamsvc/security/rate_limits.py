"""Throttles: each attempt is one guarded statement that counts it or finds the door closed, exact across workers.

The statement that counts is the one that decides, so a thousand attempts at once are a thousand attempts. A door that
is shut is seen by reading alone, so that a storm of them writes nothing. What several doors count is counted by all or
by none. The limits themselves stand in rules/rate_limits.py.
"""

import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import sqlalchemy as sa
from flask import current_app

from streamsvc import clock
from streamsvc.models import RateLimitCounter
from streamsvc.rules.rate_limits import Backoff, RateLimit
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.storage.database import db, fetch_all, insert, write_transaction

RETENTION_S = 30 * 24 * 3600
Limit = tuple[RateLimit | Backoff, str]
"""A limit, and whom it counts."""
NOW = sa.bindparam("now_s", type_=sa.BigInteger)
KEY = sa.bindparam("key_", type_=sa.String)


def hit(rule: RateLimit | Backoff, subject: str) -> int:
    """Count one attempt of `subject`; how many that makes. Raises TooManyAttempts where there is none left."""
    if shut_for_s := resets_in([(rule, subject)]).get((rule, subject)):
        raise TooManyAttempts(shut_for_s)
    with counter_transaction() as counters:
        return counters.hit(rule, subject)


def clear(rule: RateLimit | Backoff, subject: str) -> None:
    """Begin anew for this subject. Not within a unit of work, which on SQLite would wait for itself."""
    with counter_transaction() as counters:
        counters.clear(rule, subject)


def resets_in(limits: Sequence[Limit]) -> dict[Limit, int]:
    """Those of the doors that still count something, and for how many seconds yet they are shut: 0 where one is open.

    Counts nothing.
    """
    now_s, keys = _now_s(), {counter_key(*door): door for door in limits}
    found = {}
    for row in fetch_all(SELECT_COUNTERS, {"keys": list(keys)}):
        door = keys[row.key]
        is_open = _is_allowed(door[0], row, now_s)
        if row.count and (not is_open or row.until_s > now_s or isinstance(door[0], Backoff)):
            found[door] = 0 if is_open else max(1, row.until_s - now_s)
    return found


SELECT_COUNTERS = sa.select(RateLimitCounter.key, RateLimitCounter.count, RateLimitCounter.until_s).where(
    RateLimitCounter.key.in_(sa.bindparam("keys", expanding=True))
)


class Counters:
    """What counts one attempt, in one transaction."""

    def __init__(self, connection: sa.Connection):
        self._connection, self._now_s = connection, _now_s()

    def hit(self, rule: RateLimit | Backoff, subject: str, challenge_solved: bool = False) -> int:
        """Count it by one more limit; how many that makes. Raises TooManyAttempts where there is none left.

        `solved`: a challenge was solved for this attempt: neither a window nor a wait stops it, a ladder's cap does.
        """
        if count := self._execute(
            _hit_statement(rule, challenge_solved, db.engine.dialect.name), rule, subject
        ).scalar():
            return count
        found = self._connection.execute(SELECT_COUNTERS, {"keys": [counter_key(rule, subject)]}).first()
        raise TooManyAttempts(max(1, found.until_s - self._now_s) if found else 1)

    def count_first_seen(self, rule: RateLimit, subject: str) -> bool:
        """Whether this is the subject's first time within the window; counts it."""
        return self._execute(_hit_statement(rule, False, db.engine.dialect.name), rule, subject).scalar() is not None

    def refund(self, rule: RateLimit | Backoff, subject: str) -> None:
        """Uncount one attempt that was none, or turned out well; the wait that it began is over."""
        self._execute(_REFUND[type(rule)], rule, subject)

    def clear(self, rule: RateLimit | Backoff, subject: str) -> None:
        """Begin anew for this subject."""
        self._execute(_CLEAR, rule, subject)

    def _execute(self, statement, rule, subject) -> sa.CursorResult:
        return self._connection.execute(statement, {KEY.key: counter_key(rule, subject), NOW.key: self._now_s})


@contextmanager
def counter_transaction() -> Iterator[Counters]:
    """Counters that count all together: where one of them refuses, none did. Not within a unit of work."""
    with write_transaction() as connection:
        yield Counters(connection)


def clear_in_transaction(rule: RateLimit | Backoff, subject: str) -> None:
    """Begin anew for this subject when the caller's unit of work commits."""
    db.session.execute(sa.delete(RateLimitCounter).where(RateLimitCounter.key == counter_key(rule, subject)))


def counter_key(rule: RateLimit | Backoff, subject: str) -> str:
    """The row that counts this subject; from the row nobody learns whom it counts."""
    secret = current_app.extensions["settings"].secret_key[0]
    return f"{rule.name}:{hmac.digest(secret.encode(), subject.encode(), 'sha256').hex()[:40]}"


def purge_old_counters() -> int:
    """Drop the counters that count for nothing any more, in the caller's unit of work; how many."""
    return db.session.execute(
        sa.delete(RateLimitCounter).where(RateLimitCounter.until_s < _now_s() - RETENTION_S)
    ).rowcount


def _now_s() -> int:
    return int(clock.now().timestamp())


def _is_allowed(rule: RateLimit | Backoff, row, now_s, challenge_solved: bool = False):
    """Whether a row, or the table's own columns, let one more attempt by.

    What is free asks for no time: a request that began a second earlier may be counted after one that began later.
    """
    if challenge_solved and isinstance(rule, RateLimit):
        return row.count >= 0
    most = (
        rule.max_attempts
        if challenge_solved
        else rule.max_attempts
        if isinstance(rule, RateLimit)
        else rule.free_attempts
    )
    return (row.until_s <= now_s) | (row.count < most)


_DECREMENT = (
    sa.update(RateLimitCounter)
    .where(RateLimitCounter.key == KEY, RateLimitCounter.count > 0)
    .values(count=RateLimitCounter.count - 1)
)
_REFUND = {RateLimit: _DECREMENT, Backoff: _DECREMENT.values(until_s=NOW)}
_CLEAR = sa.delete(RateLimitCounter).where(RateLimitCounter.key == KEY)


@cache
def _hit_statement(rule: RateLimit | Backoff, challenge_solved: bool, dialect: str):
    """Counts where the door is open and gives the count; touches and gives nothing where it is shut."""
    first_wait_s, counted = _rate_limit_update(rule) if isinstance(rule, RateLimit) else _backoff_update(rule)
    return (
        insert(RateLimitCounter)
        .values(key=KEY, count=1, until_s=NOW + first_wait_s)
        .on_conflict_do_update(
            index_elements=["key"], set_=counted, where=_is_allowed(rule, RateLimitCounter, NOW, challenge_solved)
        )
        .returning(RateLimitCounter.count)
    )


def _rate_limit_update(rule: RateLimit):
    is_over = RateLimitCounter.until_s <= NOW
    count = sa.case((is_over, 1), else_=RateLimitCounter.count + 1)
    until_s = sa.case((is_over, NOW + rule.window_s), else_=RateLimitCounter.until_s)
    return rule.window_s, {"count": count, "until_s": until_s}


def _backoff_update(rule: Backoff):
    is_calm = RateLimitCounter.until_s <= NOW - rule.reset_after_s
    count = sa.case((is_calm, 1), else_=RateLimitCounter.count + 1)
    steps = range(rule.free_attempts, rule.free_attempts + len(rule.waits_s))
    waits = [(count >= rule.max_attempts, rule.lockout_s), (count < rule.free_attempts, 0)]
    waits += [(count == step, rule.wait_s(step)) for step in steps]
    return rule.wait_s(1), {"count": count, "until_s": NOW + sa.case(*waits, else_=rule.waits_s[-1])}
