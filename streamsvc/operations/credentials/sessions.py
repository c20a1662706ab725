"""Adds viewers' sessions, and ends some of an account, those of a support operator, or every one of the service."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Device, DeviceCode, Profile, ServiceEpoch, Session
from streamsvc.models.sessions import CURRENT_SERVICE_EPOCH
from streamsvc.operations.outbox import audit, security_events
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.security_events import EndReason
from streamsvc.rules.sign_in.sessions import GUEST_LIFETIME, hash_token
from streamsvc.settings import current_settings
from streamsvc.storage import session_guard
from streamsvc.storage.database import db, fetch_existing, insert

THE_EPOCH = 1
"""The primary key of the only row."""


def add_session(
    device: Device,
    lifetime: str,
    token: str,
    facts: RequestFacts,
    now: datetime,
    authenticated_at: datetime,
    method: str | None = None,
    added_by_session_id: str | None = None,
) -> Session:
    """Add the row of a session with the hash of `token`, in the caller's transaction."""
    session = Session(
        account_id=device.account_id,
        device_id=device.id,
        profile_id=Profile.find_default_id(device.account_id),
        token_hash=hash_token(token),
        lifetime=lifetime,
        epoch=current_settings().session_epoch,
        service_epoch=CURRENT_SERVICE_EPOCH,
        created_at=now,
        authenticated_at=authenticated_at,
        last_seen_at=now,
        address=facts.address,
        city=facts.city,
        country=facts.place.country,
        latitude=facts.place.latitude,
        longitude=facts.place.longitude,
        radius_km=facts.place.radius_km,
        user_agent=facts.user_agent,
        dpop_jkt=facts.dpop_jkt,
        method=method,
        added_by_session_id=added_by_session_id,
    )
    db.session.add(session)
    db.session.flush()
    return session


def end_sessions(account_id: str, now: datetime, reason: EndReason, *conditions: sa.ColumnElement[bool]) -> list[str]:
    """End the account's sessions that meet the conditions, effective from the very next request; returns their ids."""
    return _end_sessions(now, reason, Session.account_id == account_id, *conditions)


def end_impersonations(operator_id: str, now: datetime, *conditions: sa.ColumnElement[bool]) -> None:
    """End this operator's or API key's impersonations that meet the conditions, in the caller's transaction."""
    _end_sessions(now, "impersonation_ended", Session.impersonated_by == operator_id, *conditions)


def _end_sessions(now: datetime, reason: EndReason, *conditions: sa.ColumnElement[bool]) -> list[str]:
    """End sessions and publish it.

    A session that had expired before, and that of a guest, is marked as ended without an event.
    """
    is_public = sa.and_(Session.unexpired_condition(now), Session.lifetime != GUEST_LIFETIME)
    statement = (
        sa.update(Session)
        .where(Session.ended_at.is_(None), *conditions)
        .values(ended_at=now)
        .returning(Session.id, Session.account_id, Session.device_id, is_public.label("is_public"))
        .execution_options(synchronize_session=False)
    )
    ended = db.session.execute(statement).all()
    session_guard.note_ended_credentials(session.id for session in ended)
    for session in ended:
        if session.is_public:
            security_events.publish_session_ended(session, reason)
    return [session.id for session in ended]


def count_live_sessions(now: datetime) -> int:
    """Count the live sessions of all accounts. Reads every session that has not ended."""
    return fetch_existing(sa.select(sa.func.count()).select_from(Session).where(*Session.live_conditions(now)))[0]


def end_all_sessions(actor: str | None, reason: str, count: int) -> None:
    """End every viewer's session of the service, in the caller's transaction; `count` is recorded.

    Sessions, and devices trusted with the second factor, carry the epoch in which they began. One row is written
    however many there are, and a sign-in that commits at the same time began in the old epoch or begins in the new one.
    Televisions that were approved but have not signed in yet are denied.
    """
    raise_epoch = insert(ServiceEpoch).values(id=THE_EPOCH, number=1)
    raise_epoch = raise_epoch.on_conflict_do_update(index_elements=["id"], set_={"number": ServiceEpoch.number + 1})
    db.session.execute(raise_epoch)
    db.session.execute(sa.update(DeviceCode).where(DeviceCode.status == "approved").values(status="denied"))
    audit.record_event("all_sessions_ended", actor=actor, reason=reason, sessions=count)
    security_events.publish_sessions_revoked(count)
