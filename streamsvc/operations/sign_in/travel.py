"""Notices of sign-ins that are too far from the one before for the time between them. They never block a sign-in."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, Session
from streamsvc.operations.outbox import audit, mail
from streamsvc.rules.geography import distance_km, is_impossible_travel
from streamsvc.settings import current_settings
from streamsvc.storage.database import db


def flag_impossible_travel(session: Session, device_name: str, now: datetime) -> None:
    """Flag a new session and notify the owner if nobody can have travelled that fast, in the caller's transaction.

    It is compared with the account's latest sign-in from a known place; an unknown place is compared with nothing.
    """
    if session.latitude is None or session.longitude is None:
        return
    former = db.session.execute(
        sa.select(Session.created_at, Session.latitude, Session.longitude, Session.radius_km)
        .where(
            Session.account_id == session.account_id,
            Session.id != session.id,
            Session.latitude.is_not(None),
            Session.impersonated_by.is_(None),
        )
        .order_by(Session.id.desc())
        .limit(1)
    ).first()
    if former is None:
        return
    distance = distance_km(former.latitude, former.longitude, session.latitude, session.longitude)
    radius_km = (former.radius_km or 0.0) + (session.radius_km or 0.0)
    max_kmh = current_settings().impossible_travel_kmh
    if not is_impossible_travel(distance, radius_km, now - former.created_at, max_kmh):
        return
    session.impossible_travel = True
    details = {
        "session": session.id,
        "km": round(distance),
        "minutes": int((now - former.created_at).total_seconds() / 60),
    }
    audit.record_event("authn_impossible_travel", session.account_id, actor="anonymous", **details)
    email = db.session.get_one(Account, session.account_id).email
    place = ", ".join(filter(None, (session.city, session.country, session.address)))
    mail.enqueue_mail("impossible_travel", email, now, device=device_name, place=place, km=round(distance))
