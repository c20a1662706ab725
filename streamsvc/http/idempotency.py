"""Idempotency keys: a retried POST acts once and hears the same answer.

The first request leases the key, acts, and commits its effects together with its answer. A second one hears the
answer again, is told to wait, or is told that the key was for something else. A key whose first request died is taken
over when its lease ends: the view then runs again. One that commits on its way therefore says by `begin`, in that same
commit, what it has begun; when it runs again, `begun` tells it to go on from there.

Nothing secret is kept. What tells the same request again is a keyed hash, since bodies hold passwords. A secret in the
answer (a new token) comes from `new_secret`: it is derived from the key as the client sent it, which is not kept, and
the answer is kept with a gap in its place; only who sends the same request again can have it filled.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps

import sqlalchemy as sa
from flask import Response, current_app, g, make_response, request

from streamsvc import clock
from streamsvc.http.edge import refusal_response
from streamsvc.models import IdempotencyKey
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import IdempotencyKeyInUse, IdempotencyKeyRequired, IdempotencyKeyReused, Invalid
from streamsvc.rules.sign_in.device_codes import format_user_code
from streamsvc.rules.sign_in.totp import encode_totp_secret
from streamsvc.security.authentication import current_principal
from streamsvc.storage.database import db, execute_write, fetch_one, format_utc, insert

LEASE = timedelta(seconds=60)
RETENTION_PERIOD = timedelta(hours=48)
MAX_KEY_LENGTH = 255


SECRET, KEY, USER_CODE = "[secret shown once]", "[key shown once]", "[code shown once]"
TOTP_SECRET, TRUST = "[authenticator shown once]", "[trust shown once]"
PLACEHOLDERS = {
    SECRET: lambda bits: base64.urlsafe_b64encode(bits).decode().rstrip("="),
    KEY: lambda bits: base64.b64encode(bits).decode(),
    USER_CODE: format_user_code,
    TOTP_SECRET: encode_totp_secret,
    TRUST: lambda bits: base64.urlsafe_b64encode(bits).decode().rstrip("="),
}
"""What stands in a kept answer where a secret was, and how 256 bits are written there."""


@dataclass
class RequestKey:
    """The key that a request carries. `body`: what it was sent with. `taken_at`: when it was first seen."""

    id: str
    raw: str
    body: bytes
    first_seen_at: datetime | None = None
    checkpoint: dict | None = None
    issued_secrets: dict[str, str] = field(default_factory=dict)
    """{gap: the secret that the answer shows there}"""

    def fingerprint(self, signing_key: str) -> str:
        """Tells the same request again, and nothing about it to who has the database alone."""
        return self._digest(signing_key, "fingerprint").hex()

    def derive_secret(self, signing_key: str, placeholder: str) -> str:
        """What the same request gives again in this gap for as long as its answer is kept."""
        return PLACEHOLDERS[placeholder](self._digest(signing_key, f"{placeholder} {format_utc(self.first_seen_at)}"))

    def fill_placeholders(self, body: str, signing_key: str) -> str:
        """A kept answer as it was given."""
        for gap in PLACEHOLDERS:
            body = body.replace(gap, self.derive_secret(signing_key, gap))
        return body

    def _digest(self, signing_key: str, purpose: str) -> bytes:
        parts = (purpose, self.id, self.raw, request.method, request.path)
        return hmac.digest(signing_key.encode(), b"\n".join([*(p.encode() for p in parts), self.body]), "sha256")


def idempotent(required: bool = False):
    """Let a view's POST be retried. Stands above `@bp.response`; the view itself leaves the last commit to it."""

    def decorate(view):
        @wraps(view)
        def acting(*args, **kwargs):
            key = _read_request_key(required)
            if key is None:
                response = make_response(view(*args, **kwargs))
                if db.session.registry.has():
                    db.session.commit()
                return response
            return _lease_or_replay(key) or _run_view(key, lambda: view(*args, **kwargs))

        acting.takes_idempotency_key = True
        return acting

    return decorate


def current_key_id() -> str | None:
    """The id under which this request's answer will be kept; None where no key was sent."""
    key = g.get("idempotency_key")
    return key and key.id


def save_checkpoint(**state) -> None:
    """Keep, in the caller's unit of work, what this request has begun: values that JSON can hold."""
    if key := g.get("idempotency_key"):
        db.session.execute(sa.update(IdempotencyKey).where(IdempotencyKey.id == key.id).values(checkpoint=state))


def load_checkpoint() -> dict | None:
    """What this request had begun when an earlier run of it was cut short; None where it runs for the first time."""
    key = g.get("idempotency_key")
    return key and key.checkpoint


def generate_secret(placeholder: str = SECRET) -> str:
    """A secret for this answer, of each kind at most one: chance; under a key, what the same request gives again.

    SECRET, TRUST: 256 bits in 43 letters that a URL can hold. KEY: 256 bits in standard base64. USER_CODE: BCDF-GHJK.
    TOTP_SECRET: 160 bits in base32.
    """
    key = g.get("idempotency_key")
    if key is None:
        return PLACEHOLDERS[placeholder](secrets.token_bytes(32))
    key.issued_secrets[placeholder] = key.derive_secret(_signing_keys()[0], placeholder)
    return key.issued_secrets[placeholder]


def _signing_keys() -> tuple[str, ...]:
    return current_app.extensions["settings"].secret_key


def _read_request_key(required: bool) -> RequestKey | None:
    sent = request.headers.get("Idempotency-Key")
    if sent is None:
        if required:
            raise IdempotencyKeyRequired
        return None
    if not 0 < len(sent) <= MAX_KEY_LENGTH or not sent.isascii() or not sent.isprintable():
        raise Invalid(errors={"Idempotency-Key": [f"Send 1 to {MAX_KEY_LENGTH} printable ASCII characters."]})
    who = current_principal()
    owner = getattr(who, "account_id", who.get_id()) if who else request.remote_addr
    g.idempotency_key = RequestKey(hashlib.sha256(f"{owner}\n{sent}".encode()).hexdigest(), sent, request.get_data())
    return g.idempotency_key


def _lease_or_replay(key: RequestKey) -> Response | None:
    """Take the key, or give the answer that stands under it. Raises where it is busy or belongs to another request."""
    key.first_seen_at = wall = clock.wall_time()
    row = {"id": key.id, "fingerprint": key.fingerprint(_signing_keys()[0]), "created_at": wall}
    row["leased_until"] = wall + LEASE
    if execute_write(insert(IdempotencyKey).values(row).on_conflict_do_nothing(index_elements=["id"])):
        return None
    kept = fetch_one(sa.select(*IdempotencyKey.__table__.c).where(IdempotencyKey.id == key.id))
    if kept is None:  # the first request was refused without effect just now
        raise IdempotencyKeyInUse
    signed_by = next((k for k in _signing_keys() if key.fingerprint(k) == kept.fingerprint), None)
    if signed_by is None:
        raise IdempotencyKeyReused
    key.first_seen_at, key.checkpoint = kept.created_at, kept.checkpoint
    if kept.status is not None:
        replay = Response(key.fill_placeholders(kept.body, signed_by), kept.status)
        replay.content_type = kept.content_type
        replay.headers["Idempotency-Replayed"] = "true"
        return replay
    taken_over = (
        sa.update(IdempotencyKey)
        .where(IdempotencyKey.id == key.id, IdempotencyKey.status.is_(None), IdempotencyKey.leased_until < wall)
        .values(leased_until=wall + LEASE)
    )
    if not execute_write(taken_over):
        raise IdempotencyKeyInUse
    return None


def _run_view(key: RequestKey, view) -> Response:
    try:
        response = make_response(view())
    except Refusal as refusal:
        db.session.rollback()
        response = refusal_response(refusal)
        if response.status_code >= 500:
            _release_key(key.id)
            return response
    except BaseException:
        db.session.rollback()
        _release_key(key.id)
        raise
    body = response.get_data(as_text=True)
    for gap, secret in key.issued_secrets.items():
        body = body.replace(secret, gap)
    answer = {"status": response.status_code, "body": body}
    db.session.execute(
        sa.update(IdempotencyKey)
        .where(IdempotencyKey.id == key.id)
        .values(content_type=response.content_type, leased_until=None, **answer)
    )
    db.session.commit()
    return response


def _release_key(key_id: str) -> None:
    """Let a retry act: forget a key whose request came to nothing; one that had begun something goes on from there."""
    unanswered = (IdempotencyKey.id == key_id, IdempotencyKey.status.is_(None))
    execute_write(sa.update(IdempotencyKey).where(*unanswered).values(leased_until=clock.wall_time()))
    execute_write(sa.delete(IdempotencyKey).where(*unanswered, IdempotencyKey.checkpoint.is_(None)))


def purge_old_keys() -> int:
    """Drop the answers that are older than the promised time, in the caller's unit of work; how many."""
    return db.session.execute(
        sa.delete(IdempotencyKey).where(IdempotencyKey.created_at < clock.wall_time() - RETENTION_PERIOD)
    ).rowcount
