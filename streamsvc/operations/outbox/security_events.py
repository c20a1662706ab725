"""Security events: what happens to an account's sessions, credentials and status, for webhooks and the list of events.

Each is published in the transaction of what it reports. They carry ids and kinds only: no address, no name, no secret.
They are always listed; deliveries are made to the endpoints that subscribe to them.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from streamsvc import clock
from streamsvc.models import Session, WebhookDelivery, WebhookEvent
from streamsvc.operations.outbox.webhooks import publish_event
from streamsvc.rules.rate_limits import SIGN_IN_ACCOUNT, SIGN_IN_DEVICE
from streamsvc.rules.security_events import Factor, RecoveryMethod
from streamsvc.rules.webhooks import PLAYBACK_EVENTS
from streamsvc.storage.chunked_writes import delete_in_chunks
from streamsvc.storage.database import format_utc
from streamsvc.worker import jobs

SECURITY_EVENTS = (
    "session.started",
    "session.ended",
    "sessions.revoked",
    "factor.added",
    "factor.removed",
    "password.changed",
    "email.changed",
    "account.recovered",
    "account.locked",
    "account.deleted",
)
RETENTION_PERIOD = timedelta(days=90)
LOCK_JOB = "security.account_locked"
OWN_LIMITS = frozenset((SIGN_IN_ACCOUNT.name, SIGN_IN_DEVICE.name))
"""The limits of failed sign-ins that lock an account, rather than an address."""


def publish_session_started(session: Session, method: str, device_kind: str, is_new_device: bool) -> None:
    """Publish the start of a session. `method` is how the viewer signed in, or `impersonation`."""
    publish_event(
        "session.started",
        session.account_id,
        clock.now(),
        session_id=session.id,
        device_id=session.device_id,
        device_kind=device_kind,
        new_device=is_new_device,
        method=method,
        impersonated_by=session.impersonated_by,
    )


def publish_session_ended(session: Any, reason: str) -> None:
    """Publish the end of a session, a row with its `id`, `account_id` and `device_id`."""
    ids = {"session_id": session.id, "device_id": session.device_id}
    publish_event("session.ended", session.account_id, clock.now(), **ids, reason=reason)


def publish_sessions_revoked(count: int) -> None:
    """Publish that every session of the service has ended: one event for all."""
    publish_event("sessions.revoked", None, clock.now(), sessions=count)


def publish_factor_added(
    account_id: str, factor: Factor, factor_id: str | None = None, provider: str | None = None
) -> None:
    """Publish that the account has a new factor; `factor_id` is that of a passkey or a linked identity."""
    publish_event("factor.added", account_id, clock.now(), factor=factor, factor_id=factor_id, provider=provider)


def publish_factor_removed(
    account_id: str, factor: Factor, factor_id: str | None = None, provider: str | None = None
) -> None:
    """Publish that the account has lost a factor."""
    publish_event("factor.removed", account_id, clock.now(), factor=factor, factor_id=factor_id, provider=provider)


def publish_password_changed(account_id: str, reason: Literal["changed", "reset", "cleared"]) -> None:
    """Publish that the account's previous password no longer works; `cleared`: the account has none now."""
    publish_event("password.changed", account_id, clock.now(), reason=reason)


def publish_email_changed(account_id: str, is_undone: bool = False) -> None:
    """Publish that the account has another address; `is_undone`: it has its previous one again."""
    publish_event("email.changed", account_id, clock.now(), undone=is_undone)


def publish_account_recovered(account_id: str, method: RecoveryMethod) -> None:
    """Publish that the owner has the account back, by a reset, a link that revokes access, or by restoring it."""
    publish_event("account.recovered", account_id, clock.now(), method=method)


def publish_account_disabled(account_id: str, until: datetime | None) -> None:
    """Publish that an operator has disabled the account."""
    publish_event("account.locked", account_id, clock.now(), reason="disabled", limit=None, until=_format(until))


def publish_account_deleted(account_id: str, erase_at: datetime | None) -> None:
    """Publish that the account was closed and will be erased at `erase_at`, or with None that it has been erased."""
    publish_event("account.deleted", account_id, clock.now(), erase_at=_format(erase_at))


def enqueue_lock_event(account_id: str | None, exhausted_limits: Iterable[str]) -> None:
    """Let the worker publish that failed attempts have locked the account, if any exists.

    The steps are the same for an identifier without an account, so that their timing reveals nothing.
    """
    for limit in exhausted_limits:
        jobs.enqueue_job(LOCK_JOB, {"account_id": account_id, "limit": limit}, clock.now())


@jobs.job_handler(LOCK_JOB, jobs.INTERACTIVE_LANE)
def publish_account_locked(payload: dict, now: datetime) -> None:
    """Publish that failed attempts have locked the account."""
    if payload["account_id"] is not None:
        facts = {"reason": "too_many_attempts", "limit": payload["limit"], "until": None}
        publish_event("account.locked", payload["account_id"], now, **facts)


def purge_old_security_events(now: datetime) -> None:
    """Delete events of security, failed jobs and playback past `RETENTION_PERIOD`, with their deliveries, in chunks."""
    is_old = WebhookEvent.at < now - RETENTION_PERIOD
    for kind in (*SECURITY_EVENTS, *PLAYBACK_EVENTS, "job.failed"):
        of_kind = (WebhookEvent.kind == kind,)
        delete_in_chunks(WebhookEvent.id, is_old, among=of_kind, referenced_by=WebhookDelivery.event_id)


def _format(moment: datetime | None) -> str | None:
    return format_utc(moment) if moment else None
