"""Idempotency keys: a retried request acts once and gets the same response.

The first request leases the key, acts, and commits its effects together with its response. A second request gets the
same response, or an error if the first is still running or the key was used for a different request. If the process of
the first request dies, the next one takes over its key when the lease ends, seconds later, and the view runs again. A
request that was only stopped for so long finds at its next commit that the key is no longer its own: it commits
nothing, and returns the response of the other request. A view that commits midway therefore records what it has started
with `save_checkpoint`, in that same commit; when it runs again, `load_checkpoint` tells it where to continue.

A response is stored if the request began something: a success, or an error after something was committed, such as a
declined payment or a failed attempt to sign in. An error of 4xx before anything was committed releases the key, so that
a corrected request may use it; rate limits that the request hit stay counted. An error of 5xx is never stored, and the
key serves the same request only if something was committed.

No secret is stored. A repeated request is recognized by a keyed hash, since bodies contain passwords. A secret in the
response (a new token) comes from `generate_secret`: it is derived from the key as sent by the client, which is not
stored, and the stored response contains a placeholder instead; only the same request can have it filled in again, and
only in the members that it was taken from (`http/stored_secrets.py`). A view that returns a secret under a condition
that ends, such as a recent reauthentication, checks it again `before_replay`.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import Any, cast

import sqlalchemy as sa
from flask import Response, g, make_response, request
from sqlalchemy import event
from sqlalchemy.orm import Session

from streamsvc import clock
from streamsvc.http.edge import refusal_response
from streamsvc.http.stored_secrets import extract_secrets, restore_secrets
from streamsvc.models import IdempotencyKey
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import IdempotencyKeyInUse, IdempotencyKeyRequired, IdempotencyKeyReused, Invalid
from streamsvc.rules.sign_in.device_codes import format_user_code
from streamsvc.rules.sign_in.totp import encode_totp_secret
from streamsvc.security.access import View
from streamsvc.security.principals import current_principal, current_viewer
from streamsvc.settings import current_settings
from streamsvc.storage import leases
from streamsvc.storage.chunked_writes import delete_in_chunks
from streamsvc.storage.database import (
    db,
    execute_write,
    fetch_existing,
    fetch_one,
    format_utc,
    insert,
)
from streamsvc.storage.durability import Relaxed

REPEAT_WINDOW = timedelta(seconds=60)
"""How long the same browser gets the response of a single-use exchange again, without an Idempotency-Key."""
CLOCK_TOLERANCE = timedelta(minutes=10)
"""How far the clocks of the service's machines may be apart."""
REPEAT_WAIT_S, POLL_INTERVAL_S = 10.0, 0.05
RETENTION_PERIOD = timedelta(hours=48)
MAX_KEY_LENGTH = 255


SECRET, SIGNING_KEY, USER_CODE = "[secret shown once]", "[key shown once]", "[code shown once]"
TOTP_SECRET, TRUST_TOKEN = "[authenticator shown once]", "[trust shown once]"
PLACEHOLDERS = {
    SECRET: lambda bits: base64.urlsafe_b64encode(bits).decode().rstrip("="),
    SIGNING_KEY: lambda bits: base64.b64encode(bits).decode(),
    USER_CODE: format_user_code,
    TOTP_SECRET: encode_totp_secret,
    TRUST_TOKEN: lambda bits: base64.urlsafe_b64encode(bits).decode().rstrip("="),
}
"""What replaces each kind of secret in a stored response, and how 256 bits are formatted as such a secret."""


@dataclass
class RequestKey:
    """The idempotency key of a request, as sent in `raw`, with the request's `body`.

    `first_seen_at` and `checkpoint` are those of the first request with this key. `has_begun`: whether this request, or
    perhaps an earlier one with this key, has committed something.
    """

    id: str
    raw: str
    body: bytes
    is_implicit: bool = False
    """Whether the key stands for a single-use exchange of one browser, instead of being sent by the client."""
    has_begun: bool = False
    lease: str | None = None
    """The token under which this request runs; None once its response is stored."""
    outcome: dict[str, Any] | None = None
    """The columns of the response, to be stored by the next commit."""
    first_seen_at: datetime | None = None
    checkpoint: dict | None = None
    issued_secrets: dict[str, str] = field(default_factory=dict)
    """{placeholder: the secret that replaces it in the response}"""

    def fingerprint(self, signing_key: str) -> str:
        """Return a keyed hash that identifies the request and reveals nothing to a reader of the database alone."""
        return self._digest(signing_key, "fingerprint").hex()

    def derive_secret(self, signing_key: str, placeholder: str) -> str:
        """Derive the secret of a placeholder: the same for the same request while its response is stored."""
        return PLACEHOLDERS[placeholder](self._digest(signing_key, f"{placeholder} {format_utc(self.first_seen_at)}"))

    def _digest(self, signing_key: str, purpose: str) -> bytes:
        target = (request.method, request.path, request.query_string.decode("latin-1"), request.mimetype)
        parts = (purpose, self.id, self.raw, *target)
        return hmac.digest(signing_key.encode(), b"\n".join([*(p.encode() for p in parts), self.body]), "sha256")


def idempotent(
    required: bool = False,
    before_replay: Callable[[], None] | None = None,
    browser_binding: Callable[[], str] | None = None,
    per_profile: bool = False,
) -> Callable[[View], View]:
    """Make a view that changes something safe to retry, whatever its method.

    Goes above `@bp.response`; the view leaves its last commit to this decorator. `before_replay` raises the view's own
    error where its stored response may no longer be shown. `browser_binding`, for single-use exchanges, returns the
    secret of the browser that may send the same request twice without a key, or an empty text. `per_profile`: the
    response is for the device and the selected profile of the session, and no other of the account gets it.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def idempotent_view(*args: Any, **kwargs: Any) -> Any:
            key = _read_request_key(required, per_profile) or _exchange_key(browser_binding)
            if key is None:
                response = make_response(view(*args, **kwargs))
                if db.session.registry.has():
                    db.session.commit()
                return response
            lease = _lease_or_await if key.is_implicit else _lease_or_replay
            return lease(key, before_replay) or _run_view(key, lambda: view(*args, **kwargs))

        marked: View = idempotent_view
        marked.takes_idempotency_key = True
        marked.requires_idempotency_key = required
        marked.before_replay = before_replay
        return marked

    return decorate


class LeaseLost(Exception):
    """Another request has taken over the key of this one, which has committed nothing since."""


@event.listens_for(db.session, "before_commit")
def _keep_lease(session: Session) -> None:
    """Commit only while the key is ours, in the same transaction. Raises LeaseLost."""
    key = g.get("idempotency_key")
    if key is None or key.lease is None:
        return
    values = key.outcome or {"leased_until": leases.lease_end()}
    is_ours = (IdempotencyKey.id == key.id, IdempotencyKey.lease == key.lease)
    result = session.execute(sa.update(IdempotencyKey.__table__).where(*is_ours).values(values))
    if cast("sa.CursorResult", result).rowcount != 1:
        raise LeaseLost


@event.listens_for(db.session, "after_commit")
def _note_commit(_: object) -> None:
    """Note that the current request has committed something."""
    if key := g.get("idempotency_key"):
        key.has_begun = True
        if key.outcome:
            key.lease = None


@contextmanager
def unrelated_commits() -> Iterator[None]:
    """Commit what the request did not ask for, such as a store's current state: an error after it frees the key."""
    key = g.get("idempotency_key")
    had_begun = key.has_begun if key else False
    try:
        yield
    finally:
        if key:
            key.has_begun = had_begun


def current_key_id() -> str | None:
    """Return the id under which this request's response will be stored; None if no key was sent."""
    key = g.get("idempotency_key")
    return key and key.id


def save_checkpoint(**state: Any) -> None:
    """Record, in the caller's transaction, what this request has started, as JSON values."""
    if key := g.get("idempotency_key"):
        db.session.execute(sa.update(IdempotencyKey).where(IdempotencyKey.id == key.id).values(checkpoint=state))


def load_checkpoint() -> dict | None:
    """Load the checkpoint of an interrupted earlier run of this request; None on its first run."""
    key = g.get("idempotency_key")
    return key and key.checkpoint


def generate_secret(placeholder: str = SECRET) -> str:
    """Generate a secret for this response, at most one of each kind: random, or derived if the request has a key.

    SECRET, TRUST_TOKEN: 256 bits in 43 URL-safe letters. SIGNING_KEY: 256 bits in standard base64. USER_CODE:
    BCDF-GHJK. TOTP_SECRET: 160 bits in base32.
    """
    key = g.get("idempotency_key")
    if key is None:
        return PLACEHOLDERS[placeholder](secrets.token_bytes(32))
    key.issued_secrets[placeholder] = key.derive_secret(_signing_keys()[0], placeholder)
    return key.issued_secrets[placeholder]


def _signing_keys() -> tuple[str, ...]:
    return current_settings().secret_key


def _read_request_key(required: bool, per_profile: bool = False) -> RequestKey | None:
    """Read the Idempotency-Key header, which is the account's own. Raises IdempotencyKeyRequired, Invalid."""
    raw = request.headers.get("Idempotency-Key")
    if raw is None:
        if required:
            raise IdempotencyKeyRequired
        return None
    if not 0 < len(raw) <= MAX_KEY_LENGTH or not raw.isascii() or not raw.isprintable():
        raise Invalid(errors={"Idempotency-Key": [f"Must be 1 to {MAX_KEY_LENGTH} printable ASCII characters."]})
    principal = current_principal()
    owner = getattr(principal, "account_id", principal.get_id()) if principal else request.remote_addr
    if per_profile:
        owner = f"{owner}\n{current_viewer().row.device_id}\n{current_viewer().row.selected_profile_id}"
    g.idempotency_key = RequestKey(hashlib.sha256(f"{owner}\n{raw}".encode()).hexdigest(), raw, request.get_data())
    return g.idempotency_key


def _exchange_key(browser_binding: Callable[[], str] | None) -> RequestKey | None:
    """Return the key of a single-use exchange: the same request of the same browser has the same one."""
    binding = browser_binding() if browser_binding else ""
    if not binding:
        return None
    body = request.get_data()
    parts = (b"exchange", request.path.encode(), binding.encode(), body)
    g.idempotency_key = RequestKey(hashlib.sha256(b"\n".join(parts)).hexdigest(), binding, body, is_implicit=True)
    return g.idempotency_key


def _lease_or_await(key: RequestKey, before_replay: Callable[[], None] | None) -> Response | None:
    """Lease the key of an exchange, or return the response of the request that has it, if need be after waiting.

    A response older than `REPEAT_WINDOW` is forgotten, so that the view rejects the used secret. Raises
    IdempotencyKeyInUse if the first request takes too long.
    """
    now = clock.wall_time()  # a later response is from before the clock was set back
    is_old = ~IdempotencyKey.created_at.between(now - REPEAT_WINDOW, now + CLOCK_TOLERANCE)
    is_response = (IdempotencyKey.id == key.id, IdempotencyKey.status.is_not(None))
    execute_write(sa.delete(IdempotencyKey).where(*is_response, is_old))
    deadline = time.monotonic() + REPEAT_WAIT_S
    while True:
        try:
            return _lease_or_replay(key, before_replay)
        except IdempotencyKeyInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_INTERVAL_S)


def _lease_or_replay(key: RequestKey, before_replay: Callable[[], None] | None = None) -> Response | None:
    """Lease the key, or return its stored response.

    Raises IdempotencyKeyInUse, IdempotencyKeyReused, and the error of `before_replay`.
    """
    key.first_seen_at, token = clock.wall_time(), leases.new_token()
    row = {"id": key.id, "fingerprint": key.fingerprint(_signing_keys()[0]), "created_at": key.first_seen_at}
    row |= {"lease": token, "leased_until": leases.lease_end()}
    new_key = insert(IdempotencyKey).values(row).on_conflict_do_nothing(index_elements=["id"])
    if execute_write(new_key, relaxed=Relaxed.LEASE):  # whatever the request commits makes it durable too
        key.lease = token
        return None
    if replay := _load_replay(key, before_replay):
        return replay
    is_abandoned = (
        IdempotencyKey.id == key.id,
        IdempotencyKey.status.is_(None),
        leases.is_free(IdempotencyKey.leased_until),
    )
    take_over = sa.update(IdempotencyKey).where(*is_abandoned).values(lease=token, leased_until=leases.lease_end())
    if not execute_write(take_over, relaxed=Relaxed.LEASE):
        raise IdempotencyKeyInUse
    key.lease, key.has_begun = token, True
    key.checkpoint = fetch_existing(sa.select(IdempotencyKey.checkpoint).where(IdempotencyKey.id == key.id))[0]
    return None


def _load_replay(key: RequestKey, before_replay: Callable[[], None] | None = None) -> Response | None:
    """Return the stored response to the same request; None if there is none yet.

    Raises IdempotencyKeyInUse, IdempotencyKeyReused, and the error of `before_replay`.
    """
    stored = fetch_one(sa.select(*IdempotencyKey.__table__.c).where(IdempotencyKey.id == key.id))
    if stored is None:  # the first request failed without effect just now
        raise IdempotencyKeyInUse
    signed_by = next((k for k in _signing_keys() if key.fingerprint(k) == stored.fingerprint), None)
    if signed_by is None:
        raise IdempotencyKeyReused
    key.first_seen_at = stored.created_at
    if stored.status is None:
        return None
    if before_replay is not None and stored.status < 400:
        before_replay()
    derive = partial(key.derive_secret, signed_by)
    replay = Response(restore_secrets(stored.body, stored.secret_members or [], derive), stored.status)
    replay.content_type = stored.content_type
    replay.headers["Idempotency-Replayed"] = "true"
    return replay


def _run_view(key: RequestKey, view: Callable[[], Any]) -> Response:
    """Run the view and store its response in the same transaction, unless it is an error that frees the key.

    Raises IdempotencyKeyInUse if the key was lost to a request that is still running.
    """
    try:
        with leases.renewed(IdempotencyKey.__table__, [(key.id, cast("str", key.lease))]):
            return _run_leased_view(key, view)
    except LeaseLost:
        db.session.rollback()
        key.lease = None
        replay = _load_replay(key)
        if replay is None:
            raise IdempotencyKeyInUse from None
        return replay


def _run_leased_view(key: RequestKey, view: Callable[[], Any]) -> Response:
    try:
        response = make_response(view())
    except LeaseLost:
        raise
    except Refusal as refusal:
        db.session.rollback()
        response = refusal_response(refusal)
        if response.status_code >= 500 or not key.has_begun or key.is_implicit:
            _release_key(key)
            return response
    except BaseException:
        db.session.rollback()
        _release_key(key)
        raise
    body, secret_members = extract_secrets(response.get_data(as_text=True), key.issued_secrets)
    key.outcome = {"status": response.status_code, "content_type": response.content_type, "body": body}
    key.outcome |= {"secret_members": secret_members, "lease": None, "leased_until": None}
    db.session.commit()
    return response


def _release_key(key: RequestKey) -> None:
    """Let a retry run: end the lease if something has begun, so that only the same request continues it; else delete.

    Does nothing if another request has taken over the key.
    """
    is_ours = (IdempotencyKey.id == key.id, IdempotencyKey.lease == key.lease)
    if key.has_begun and not key.is_implicit:
        execute_write(
            sa.update(IdempotencyKey).where(*is_ours).values(lease=None, leased_until=None), relaxed=Relaxed.LEASE
        )
    else:
        execute_write(sa.delete(IdempotencyKey).where(*is_ours), relaxed=Relaxed.LEASE)
    key.lease = None


def purge_old_keys() -> int:
    """Delete responses older than `RETENTION_PERIOD`, in chunks. Returns how many."""
    is_old = IdempotencyKey.created_at < clock.wall_time() - RETENTION_PERIOD
    return delete_in_chunks(IdempotencyKey.created_at, is_old)
