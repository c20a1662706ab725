"""Throttles: each attempt is one guarded statement that counts it or finds the door closed, exact across workers.

The statement that counts is the one that decides, so a thousand attempts at once are a thousand attempts. A door that
is shut is seen by reading alone, so that a storm of them writes nothing. The limits themselves stand in
rules/throttle.py.
"""

import hmac

import sqlalchemy as sa
from flask import current_app

from streamsvc import clock
from streamsvc.database import db, insert, one_row, written_in_turn
from streamsvc.models import Throttle
from streamsvc.rules.refusals import TooManyAttempts
from streamsvc.rules.throttle import Ladder, Window

KEPT_S = 30 * 24 * 3600


def take(limit: Window | Ladder, subject: str, solved: bool = False) -> int:
    """Count one attempt of `subject`; how many that makes. Raises TooManyAttempts where there is none left.

    `solved`: a challenge was solved for this attempt: neither a window nor a wait stops it, a ladder's cap does.
    """
    now_s, key = _now_s(), key_of(limit, subject)
    shut = one_row(sa.select(Throttle.until_s).where(Throttle.key == key, sa.not_(_is_open(limit, now_s, solved))))
    counted = None if shut else written_in_turn(_step(limit, key, now_s, solved))
    if counted is None:
        shut = shut or one_row(sa.select(Throttle.until_s).where(Throttle.key == key))
        raise TooManyAttempts(max(1, shut.until_s - now_s) if shut else 1)
    return counted.count


def seen_first(limit: Window, subject: str) -> bool:
    """Whether this is the subject's first time within the window; counts it."""
    return written_in_turn(_step(limit, key_of(limit, subject), _now_s())) is not None


def was_seen(limit: Window, subject: str) -> bool:
    """Whether the subject was there within the window; counts nothing."""
    running = (Throttle.key == key_of(limit, subject), Throttle.until_s > _now_s())
    return one_row(sa.select(Throttle.key).where(*running)) is not None


def give_back(limit: Window | Ladder, subject: str) -> None:
    """Uncount one attempt that was none, or turned out well; the wait that it began is over."""
    opened = {"until_s": _now_s()} if isinstance(limit, Ladder) else {}
    written_in_turn(
        sa.update(Throttle)
        .where(Throttle.key == key_of(limit, subject), Throttle.count > 0)
        .values(count=Throttle.count - 1, **opened)
    )


def clear(limit: Window | Ladder, subject: str) -> None:
    """Begin anew for this subject. Not within a unit of work, which on SQLite would wait for itself."""
    written_in_turn(sa.delete(Throttle).where(Throttle.key == key_of(limit, subject)))


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


def _is_open(limit: Window | Ladder, now_s: int, solved: bool = False):
    """Whether the subject's row lets one more attempt by.

    What is free asks for no time: a request that began a second earlier may be counted after one that began later.
    """
    is_over = Throttle.until_s <= now_s
    if solved:
        return sa.true() if isinstance(limit, Window) else sa.or_(is_over, Throttle.count < limit.cap)
    return sa.or_(is_over, Throttle.count < (limit.most if isinstance(limit, Window) else limit.free))


def _step(limit: Window | Ladder, key: str, now_s: int, solved: bool = False):
    """Counts where the door is open and gives the row; touches and gives nothing where it is shut."""
    first_wait_s, counted = _window(limit, now_s) if isinstance(limit, Window) else _ladder(limit, now_s)
    return (
        insert(Throttle)
        .values(key=key, count=1, until_s=now_s + first_wait_s)
        .on_conflict_do_update(index_elements=["key"], set_=counted, where=_is_open(limit, now_s, solved))
        .returning(Throttle.count, Throttle.until_s)
    )


def _window(limit: Window, now_s: int):
    is_over = Throttle.until_s <= now_s
    count = sa.case((is_over, 1), else_=Throttle.count + 1)
    until_s = sa.case((is_over, now_s + limit.window_s), else_=Throttle.until_s)
    return limit.window_s, {"count": count, "until_s": until_s}


def _ladder(limit: Ladder, now_s: int):
    is_calm = Throttle.until_s <= now_s - limit.calm_s
    count = sa.case((is_calm, 1), else_=Throttle.count + 1)
    steps = range(limit.free, limit.free + len(limit.waits_s))
    waits = [(count >= limit.cap, limit.capped_s), (count < limit.free, 0)]
    waits += [(count == step, limit.wait_s(step)) for step in steps]
    return limit.wait_s(1), {"count": count, "until_s": now_s + sa.case(*waits, else_=limit.waits_s[-1])}
