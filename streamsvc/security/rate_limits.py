"""Rate limits: each attempt is one guarded statement that either counts it or is rejected, exact across workers.

The counting statement itself decides, so a thousand concurrent attempts count as a thousand. An exhausted limit is
detected by reading alone, so that a storm of attempts writes nothing. An attempt that hits several limits counts for
all of them or none. The rules are defined in rules/rate_limits.py.
"""

import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import RateLimitCounter
from streamsvc.rules.rate_limits import Backoff, RateLimit
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.security.counter_keys import (
    find_counter_key,
    get_or_create_counter_key,
    is_counter_key_stored,
    load_counter_key,
)
from streamsvc.storage.chunked_writes import delete_in_chunks
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import db, fetch_all, insert, write_transaction
from streamsvc.storage.durability import Relaxed

RETENTION_S = 30 * 24 * 3600
CLEARED_AT_ONCE = 500
CLOCK_TOLERANCE_S = 3600
Limit = tuple[RateLimit | Backoff, str]
"""A rule and the subject it is applied to."""
NOW = sa.bindparam("now_s", type_=sa.BigInteger)
KEY = sa.bindparam("key_", type_=sa.String)


def hit(rule: RateLimit | Backoff, subject: str) -> int:
    """Count one attempt of `subject` and return the new count. Raises TooManyAttempts if none is left."""
    return hit_all([(rule, subject)])[0]


def hit_all(limits: Sequence[Limit]) -> list[int]:
    """Count one attempt against all of the limits and return the new counts. Raises TooManyAttempts, counting none."""
    if wait_s := max(resets_in(limits).values(), default=0):  # a storm of attempts writes nothing
        raise TooManyAttempts(wait_s)
    with counter_transaction() as counters:
        return [counters.hit(*limit) for limit in limits]


def clear(rule: RateLimit | Backoff, subject: str) -> None:
    """Reset the count of `subject`.

    Must not be used in a `db.session` transaction, which on SQLite would wait for itself.
    """
    with counter_transaction() as counters:
        counters.clear(rule, subject)


def resets_in(limits: Sequence[Limit]) -> dict[Limit, int]:
    """Which of the limits have a count, and the seconds until each allows another attempt (0: now). Counts nothing.

    Must not be used in a `db.session` transaction.
    """
    counter_key = load_counter_key()
    if counter_key is None:
        return {}
    now_s, keys = _now_s(), {counter_name(counter_key, *limit): limit for limit in limits}
    waits_s = {}
    for row in fetch_all(SELECT_COUNTERS, {"keys": list(keys)}):
        key, count, until_s = row
        limit = keys[key]
        is_allowed = _is_allowed(limit[0], row, now_s)
        if count and (not is_allowed or until_s > now_s or isinstance(limit[0], Backoff)):
            waits_s[limit] = 0 if is_allowed else max(1, until_s - now_s)
    return waits_s


SELECT_COUNTERS = sa.select(RateLimitCounter.key, RateLimitCounter.count, RateLimitCounter.until_s).where(
    RateLimitCounter.key.in_(sa.bindparam("keys", expanding=True))
)


class Counters:
    """Counts an attempt against several limits in one transaction."""

    def __init__(self, connection: sa.Connection):
        self._connection, self._now_s = connection, _now_s()
        self._key = get_or_create_counter_key(connection)

    def hit(self, rule: RateLimit | Backoff, subject: str, challenge_solved: bool = False) -> int:
        """Count the attempt against one more limit and return the new count. Raises TooManyAttempts if none is left.

        `challenge_solved`: the attempt came with a solved challenge, which lifts rate limits and waits, but not the
        `max_attempts` of a back-off.
        """
        if counted := self._run(_hit_statement(rule, challenge_solved, db.engine.dialect.name), rule, subject):
            return counted[0].count
        row = self._connection.execute(SELECT_COUNTERS, {"keys": [counter_name(self._key, rule, subject)]}).first()
        raise TooManyAttempts(max(1, row.until_s - self._now_s) if row else 1)

    def count_first_seen(self, rule: RateLimit, subject: str) -> bool:
        """Count the subject once per window; returns whether this was the first time."""
        return bool(self._run(_hit_statement(rule, False, db.engine.dialect.name), rule, subject))

    def refund(self, rule: RateLimit | Backoff, subject: str) -> None:
        """Refund one attempt that turned out not to count; the wait it started ends."""
        self._run(_REFUND[type(rule)], rule, subject)

    def clear(self, rule: RateLimit | Backoff, subject: str) -> None:
        """Reset the count of `subject`."""
        self._run(_CLEAR, rule, subject)

    def _run(self, statement: CompiledStatement, rule: RateLimit | Backoff, subject: str) -> list[Any]:
        """Run a statement on the counter: one for each, in the order of the limits, in which all lock their rows."""
        return statement.run_in(self._connection, key_=counter_name(self._key, rule, subject), now_s=self._now_s)


@contextmanager
def counter_transaction() -> Iterator[Counters]:
    """Counters that commit together: if one limit rejects the attempt, none counts it.

    Not within a `db.session` transaction.
    """
    is_relaxed = is_counter_key_stored()  # the transaction that stores it must be durable: processes remember the key
    with write_transaction(Relaxed.RATE_LIMIT if is_relaxed else None) as connection:
        yield Counters(connection)


def clear_in_transaction(*limits: Limit) -> None:
    """Reset the counts of these limits when the caller's transaction commits."""
    if key := find_counter_key():
        names = [counter_name(key, *limit) for limit in limits]
        for start in range(0, len(names), CLEARED_AT_ONCE):
            is_cleared = RateLimitCounter.key.in_(names[start : start + CLEARED_AT_ONCE])
            db.session.execute(sa.delete(RateLimitCounter).where(is_cleared))


def counter_name(key: bytes, rule: RateLimit | Backoff, subject: str) -> str:
    """Return the primary key of a counter. It is a keyed hash, so that the row does not reveal the subject."""
    return f"{rule.name}:{hmac.digest(key, subject.encode(), 'sha256').hex()[:40]}"


def purge_old_counters() -> int:
    """Delete expired counters, in chunks. Returns how many."""
    return delete_in_chunks(RateLimitCounter.until_s, RateLimitCounter.until_s < _now_s() - RETENTION_S)


def _now_s() -> int:
    return int(clock.service_now().timestamp())


def _is_allowed(rule: RateLimit | Backoff, row: Any, now_s: Any, challenge_solved: bool = False) -> Any:
    """Whether a counter, as a row or as the table's columns, allows another attempt.

    Free attempts ignore the time: a request that started a second earlier may be counted after a later one.
    """
    if challenge_solved and isinstance(rule, RateLimit):
        return row.count >= 0
    limit = rule.max_attempts if challenge_solved or isinstance(rule, RateLimit) else rule.free_attempts
    return _is_past(row, rule, now_s) | (row.count < limit)


def _is_past(row: Any, rule: RateLimit | Backoff, now_s: Any) -> Any:
    """Whether the window or wait of a counter is over.

    So is one that ends later than any that begins now: it was begun before the clock was set back.
    """
    latest_s = now_s + CLOCK_TOLERANCE_S
    if isinstance(rule, RateLimit):
        return (row.until_s <= now_s) | (row.until_s > latest_s + rule.window_s)
    is_too_late = (row.count < rule.max_attempts) & (row.until_s > latest_s + max(rule.waits_s))
    return (row.until_s <= now_s) | is_too_late | (row.until_s > latest_s + rule.lockout_s)


_DECREMENT = (
    sa.update(RateLimitCounter)
    .where(RateLimitCounter.key == KEY, RateLimitCounter.count > 0)
    .values(count=RateLimitCounter.count - 1)
)
_REFUND = {RateLimit: CompiledStatement(_DECREMENT), Backoff: CompiledStatement(_DECREMENT.values(until_s=NOW))}
_CLEAR = CompiledStatement(sa.delete(RateLimitCounter).where(RateLimitCounter.key == KEY))


@cache
def _hit_statement(rule: RateLimit | Backoff, challenge_solved: bool, dialect: str) -> CompiledStatement:
    """Count the attempt and return the count if it is allowed; otherwise change and return nothing."""
    first_wait_s, update = _rate_limit_update(rule) if isinstance(rule, RateLimit) else _backoff_update(rule)
    return CompiledStatement(
        insert(RateLimitCounter)
        .values(key=KEY, count=1, until_s=NOW + first_wait_s)
        .on_conflict_do_update(
            index_elements=["key"], set_=update, where=_is_allowed(rule, RateLimitCounter, NOW, challenge_solved)
        )
        .returning(RateLimitCounter.count)
    )


def _rate_limit_update(rule: RateLimit) -> tuple[int, dict[str, Any]]:
    is_over = _is_past(RateLimitCounter, rule, NOW)
    count = sa.case((is_over, 1), else_=RateLimitCounter.count + 1)
    until_s = sa.case((is_over, NOW + rule.window_s), else_=RateLimitCounter.until_s)
    return rule.window_s, {"count": count, "until_s": until_s}


def _backoff_update(rule: Backoff) -> tuple[int, dict[str, Any]]:
    is_reset = RateLimitCounter.until_s <= NOW - rule.reset_after_s
    count = sa.case((is_reset, 1), else_=RateLimitCounter.count + 1)
    steps = range(rule.free_attempts, rule.free_attempts + len(rule.waits_s))
    waits: list[tuple[Any, int]] = [(count >= rule.max_attempts, rule.lockout_s), (count < rule.free_attempts, 0)]
    waits += [(count == step, rule.wait_s(step)) for step in steps]
    return rule.wait_s(1), {"count": count, "until_s": NOW + sa.case(*waits, else_=rule.waits_s[-1])}
