"""Idempotency keys: a retried POST acts once and hears the same answer.

The first request leases the key, acts, and commits its effects together with its answer. A second one hears the
answer again, is told to wait, or is told that the key was for something else. A key whose first request died is taken
over when its lease ends: the view then runs again, so its own constraints must make a second run harmless.
"""

import hashlib
from datetime import timedelta
from functools import wraps

import sqlalchemy as sa
from flask import Response, g, make_response, request
from flask_login import current_user

from streamsvc import clock
from streamsvc.database import affected, db, insert, one_row
from streamsvc.models import IdempotencyKey
from streamsvc.rules.refusals import (
    IdempotencyKeyInUse,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    Invalid,
    Refusal,
)
from streamsvc.web import refused

LEASE = timedelta(seconds=60)
KEPT = timedelta(hours=48)
LONGEST_KEY = 255


def idempotent(required: bool = False):
    """Let a view's POST be retried. Stands above `@bp.response`; the view itself leaves the last commit to it."""

    def decorate(view):
        @wraps(view)
        def acting(*args, **kwargs):
            key = _key_of_request(required)
            if key is None:
                response = make_response(view(*args, **kwargs))
                db.session.commit()
                return response
            return _lease(key) or _act(key, lambda: view(*args, **kwargs))

        return acting

    return decorate


def current_key() -> str | None:
    """The id under which this request's answer will be kept; None where no key was sent."""
    return g.get("idempotency_key")


def _key_of_request(required: bool) -> str | None:
    sent = request.headers.get("Idempotency-Key")
    if sent is None:
        if required:
            raise IdempotencyKeyRequired
        return None
    if not 0 < len(sent) <= LONGEST_KEY or not sent.isascii() or not sent.isprintable():
        raise Invalid(errors={"Idempotency-Key": [f"Send 1 to {LONGEST_KEY} printable ASCII characters."]})
    owner = current_user.get_id() if current_user.is_authenticated else request.remote_addr
    owner = getattr(current_user, "account_id", owner)
    g.idempotency_key = hashlib.sha256(f"{owner}\n{sent}".encode()).hexdigest()
    return g.idempotency_key


def _lease(key: str) -> Response | None:
    """Take the key, or give the answer that stands under it. Raises where it is busy or belongs to another request."""
    wall, body = clock.wall(), request.get_data()
    fingerprint = hashlib.sha256(b"\n".join((request.method.encode(), request.path.encode(), body))).hexdigest()
    row = {"id": key, "fingerprint": fingerprint, "created_at": wall, "leased_until": wall + LEASE}
    if affected(insert(IdempotencyKey).values(row).on_conflict_do_nothing(index_elements=["id"])):
        return None
    kept = one_row(sa.select(*IdempotencyKey.__table__.c).where(IdempotencyKey.id == key))
    if kept is None:  # the first request was refused without effect just now
        raise IdempotencyKeyInUse
    if kept.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    if kept.status is not None:
        replay = Response(kept.body, kept.status, content_type=kept.content_type)
        replay.headers["Idempotency-Replayed"] = "true"
        return replay
    taken_over = (
        sa.update(IdempotencyKey)
        .where(IdempotencyKey.id == key, IdempotencyKey.status.is_(None), IdempotencyKey.leased_until < wall)
        .values(leased_until=wall + LEASE)
    )
    if not affected(taken_over):
        raise IdempotencyKeyInUse
    return None


def _act(key: str, view) -> Response:
    try:
        response = make_response(view())
    except Refusal as refusal:
        db.session.rollback()
        response = refused(refusal)
        if response.status_code >= 500:
            _release(key)
            return response
    except BaseException:
        db.session.rollback()
        _release(key)
        raise
    answer = {"status": response.status_code, "body": response.get_data(as_text=True)}
    db.session.execute(
        sa.update(IdempotencyKey)
        .where(IdempotencyKey.id == key)
        .values(content_type=response.content_type, leased_until=None, **answer)
    )
    db.session.commit()
    return response


def _release(key: str) -> None:
    """Forget a key whose request came to nothing, so that a retry may act."""
    affected(sa.delete(IdempotencyKey).where(IdempotencyKey.id == key, IdempotencyKey.status.is_(None)))


def forget_old() -> int:
    """Drop the answers that are older than the promised time, in the caller's unit of work; how many."""
    return db.session.execute(sa.delete(IdempotencyKey).where(IdempotencyKey.created_at < clock.wall() - KEPT)).rowcount
