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
from streamsvc.models import Throttle
from streamsvc.rules.rate_limits import Ladder, Window
from streamsvc.rules.refusals.accounts import TooManyAttempts
from streamsvc.storage.database import all_rows, db, in_turn, insert

KEPT_S = 30 * 24 * 3600
Door = tuple[Window | Ladder, str]
"""A limit, and whom it counts."""
NOW = sa.bindparam("now_s", type_=sa.BigInteger)
KEY = sa.bindparam("key_", type_=sa.String)


def take(limit: Window | Ladder, subject: str) -> int:
    """Count one attempt of `subject`; how many that makes. Raises TooManyAttempts where there is none left."""
    if shut_for_s := look([(limit, subject)]).get((limit, subject)):
        raise TooManyAttempts(shut_for_s)
    with counting() as counters:
        return counters.take(limit, subject)


def clear(limit: Window | Ladder, subject: str) -> None:
    """Begin anew for this subject. Not within a unit of work, which on SQLite would wait for itself."""
    with counting() as counters:
        counters.clear(limit, subject)


def look(doors: Sequence[Door]) -> dict[Door, int]:
    """Those of the doors that still count something, and for how many seconds yet they are shut: 0 where one is open.

    Counts nothing.
    """
    now_s, keys = _now_s(), {key_of(*door): door for door in doors}
    found = {}
    for row in all_rows(KEPT, {"keys": list(keys)}):
        door = keys[row.key]
        is_open = _is_open(door[0], row, now_s)
        if row.count and (not is_open or row.until_s > now_s or isinstance(door[0], Ladder)):
            found[door] = 0 if is_open else max(1, row.until_s - now_s)
    return found


KEPT = sa.select(Throttle.key, Throttle.count, Throttle.until_s).where(
    Throttle.key.in_(sa.bindparam("keys", expanding=True))
)


class Counters:
    """What counts one attempt, in one transaction."""

    def __init__(self, connection: sa.Connection):
        self._connection, self._now_s = connection, _now_s()

    def take(self, limit: Window | Ladder, subject: str, solved: bool = False) -> int:
        """Count it by one more limit; how many that makes. Raises TooManyAttempts where there is none left.

        `solved`: a challenge was solved for this attempt: neither a window nor a wait stops it, a ladder's cap does.
        """
        if count := self._run(_step(limit, solved, db.engine.dialect.name), limit, subject).scalar():
            return count
        found = self._connection.execute(KEPT, {"keys": [key_of(limit, subject)]}).first()
        raise TooManyAttempts(max(1, found.until_s - self._now_s) if found else 1)

    def seen_first(self, limit: Window, subject: str) -> bool:
        """Whether this is the subject's first time within the window; counts it."""
        return self._run(_step(limit, False, db.engine.dialect.name), limit, subject).scalar() is not None

    def give_back(self, limit: Window | Ladder, subject: str) -> None:
        """Uncount one attempt that was none, or turned out well; the wait that it began is over."""
        self._run(_GIVEN_BACK[type(limit)], limit, subject)

    def clear(self, limit: Window | Ladder, subject: str) -> None:
        """Begin anew for this subject."""
        self._run(_CLEARED, limit, subject)

    def _run(self, statement, limit, subject) -> sa.CursorResult:
        return self._connection.execute(statement, {KEY.key: key_of(limit, subject), NOW.key: self._now_s})


@contextmanager
def counting() -> Iterator[Counters]:
    """Counters that count all together: where one of them refuses, none did. Not within a unit of work."""
    with in_turn() as connection:
        yield Counters(connection)


def clear_within(limit: Window | Ladder, subject: str) -> None:
    """Begin anew for this subject when the caller's unit of work commits."""
    db.session.execute(sa.delete(Throttle).where(Throttle.key == key_of(limit, subject)))


def key_of(limit: Window | Ladder, subject: str) -> str:
    """The row that counts this subject; from the row nobody learns whom it counts."""
    secret = current_app.extensions["settings"].secret_key[0]
    return f"{limit.name}:{hmac.digest(secret.encode(), subject.encode(), 'sha256').hex()[:40]}"


def forget_old() -> int:
    """Drop the counters that count for nothing any more, in the caller's unit of work; how many."""
    return db.session.execute(sa.delete(Throttle).where(Throttle.until_s < _now_s() - KEPT_S)).rowcount


def _now_s() -> int:
    return int(clock.now().timestamp())


def _is_open(limit: Window | Ladder, row, now_s, solved: bool = False):
    """Whether a row, or the table's own columns, let one more attempt by.

    What is free asks for no time: a request that began a second earlier may be counted after one that began later.
    """
    if solved and isinstance(limit, Window):
        return row.count >= 0
    most = limit.cap if solved else limit.most if isinstance(limit, Window) else limit.free
    return (row.until_s <= now_s) | (row.count < most)


_GIVEN = sa.update(Throttle).where(Throttle.key == KEY, Throttle.count > 0).values(count=Throttle.count - 1)
_GIVEN_BACK = {Window: _GIVEN, Ladder: _GIVEN.values(until_s=NOW)}
_CLEARED = sa.delete(Throttle).where(Throttle.key == KEY)


@cache
def _step(limit: Window | Ladder, solved: bool, dialect: str):
    """Counts where the door is open and gives the count; touches and gives nothing where it is shut."""
    first_wait_s, counted = _window(limit) if isinstance(limit, Window) else _ladder(limit)
    return (
        insert(Throttle)
        .values(key=KEY, count=1, until_s=NOW + first_wait_s)
        .on_conflict_do_update(index_elements=["key"], set_=counted, where=_is_open(limit, Throttle, NOW, solved))
        .returning(Throttle.count)
    )


def _window(limit: Window):
    is_over = Throttle.until_s <= NOW
    count = sa.case((is_over, 1), else_=Throttle.count + 1)
    until_s = sa.case((is_over, NOW + limit.window_s), else_=Throttle.until_s)
    return limit.window_s, {"count": count, "until_s": until_s}


def _ladder(limit: Ladder):
    is_calm = Throttle.until_s <= NOW - limit.calm_s
    count = sa.case((is_calm, 1), else_=Throttle.count + 1)
    steps = range(limit.free, limit.free + len(limit.waits_s))
    waits = [(count >= limit.cap, limit.capped_s), (count < limit.free, 0)]
    waits += [(count == step, limit.wait_s(step)) for step in steps]
    return limit.wait_s(1), {"count": count, "until_s": NOW + sa.case(*waits, else_=limit.waits_s[-1])}
