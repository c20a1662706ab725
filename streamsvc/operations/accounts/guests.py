"""Guests: people without an account, whose watchlist, progress and ratings move into their account when they get one.

A guest is an account of the status `guest` with one device, one profile and one session. Guests are nobody's customers:
operators do not see them, no security event reports them, and housekeeping deletes them.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Account, AuditEvent, Device, Profile, Session
from streamsvc.models.accounts import GUEST
from streamsvc.models.progress import move_profile_items
from streamsvc.operations.accounts import personal_data
from streamsvc.operations.credentials import sessions
from streamsvc.operations.outbox import audit
from streamsvc.rules.request_facts import GuestSession, RequestFacts
from streamsvc.rules.sign_in.sessions import GUEST_LIFETIME
from streamsvc.settings import current_settings
from streamsvc.storage.chunked_writes import PAUSE_S
from streamsvc.storage.database import db, execute_in_session, fetch_all, lock_row, new_id
from streamsvc.worker import jobs

PURGE_BATCH_SIZE = 20
"""Guests per transaction: each has rows in some twenty tables."""
PURGE_MARGIN = timedelta(hours=1)
"""How much later than its session a guest is deleted, so that no sign-in that has found the session loses the guest."""
DEFAULT_MAX_AGE = 12
IS_GUEST = Account.status == sa.literal_column(f"'{GUEST}'")
"""Not a parameter: with one, SQLite would not use the index of guests."""
LATE_MOVE_DELAY = timedelta(minutes=5)
"""By then, requests have ended that authenticated as the guest before the sign-in."""


@dataclass(frozen=True)
class NewGuest:
    """What is known about a guest at the start."""

    country: str
    time_zone: str
    locale: str
    device: dict[str, Any]
    """{name, kind}"""


def create_guest(new_guest: NewGuest, token: str, facts: RequestFacts, now: datetime) -> Session:
    """Create a guest and a session with the hash of `token`, in the caller's transaction.

    The address is a placeholder under `.invalid`, which can be nobody's (RFC 6761).
    """
    guest_id = new_id("acc")
    placeholder = f"{guest_id}@guest.invalid"
    places = {"country": new_guest.country, "time_zone": new_guest.time_zone, "locale": new_guest.locale}
    guest = Account(id=guest_id, email=placeholder, email_key=placeholder, status=GUEST, created_at=now, **places)
    device = Device(account_id=guest_id, created_at=now, last_seen_at=now, **new_guest.device)
    profile = Profile(account_id=guest_id, name="Guest", language=new_guest.locale, created_at=now)
    max_age = current_settings().guest_max_age
    profile.max_age = DEFAULT_MAX_AGE if max_age is None else max_age
    db.session.add(guest)
    db.session.flush()
    db.session.add_all([device, profile])
    db.session.flush()
    session = sessions.add_session(device, GUEST_LIFETIME, token, facts, now, authenticated_at=now)
    audit.record_event("guest_started", guest_id, session=session.id)
    return session


def move_guest(guest: GuestSession, session: Session, now: datetime) -> None:
    """Move what a guest saved into the profile of a new session, and end the guest's session; in the same transaction.

    Of two sign-ins with the same guest's token the first one gets everything. Without a selected profile, it goes to
    the first one that is neither locked by a PIN nor for kids, else to the first. The caller has locked the account.
    """
    is_live = (Session.id == guest.session_id, Session.account_id == guest.account_id)
    if not sessions.end_sessions(guest.account_id, now, "signed_out", *is_live):
        return
    profile_id = session.profile_id or _find_target_profile_id(session.account_id)
    moved = _move_items(guest.account_id, profile_id)
    payload = {"guest_id": guest.account_id, "account_id": session.account_id, "profile_id": profile_id}
    jobs.enqueue_job("guests.complete_move", payload, now + LATE_MOVE_DELAY)
    audit.record_event("guest_moved", session.account_id, guest=guest.account_id, profile=profile_id, moved=moved)


def _find_target_profile_id(account_id: str) -> str:
    """Find the profile that gets a guest's items while none is selected. An account always has a profile."""
    profiles = Profile.list_owned(account_id)
    return next((profile for profile in profiles if not (profile.has_pin or profile.kids)), profiles[0]).id


def _move_items(guest_id: str, to_profile_id: str) -> dict[str, int]:
    moved = [move_profile_items(profile.id, to_profile_id) for profile in Profile.list_owned(guest_id)]
    return {name: sum(counts[name] for counts in moved) for counts in moved for name in counts}


@jobs.job_handler("guests.complete_move", jobs.BULK_LANE)
def complete_move(payload: dict, now: datetime) -> None:
    """Move what the guest saved while the sign-in was under way, and delete the guest."""
    lock_row(Account, payload["account_id"])
    if Profile.find_owned(payload["account_id"], payload["profile_id"]):
        _move_items(payload["guest_id"], payload["profile_id"])
    _delete_guests([payload["guest_id"]])


@jobs.recurring_job("guests.purge", every=timedelta(hours=1))
def purge_guests(payload: dict, now: datetime) -> None:
    """Delete guests whose session has ended or expired, with what they saved. Commits after a bounded number.

    A guest who has just signed up is left to `complete_move`.
    """
    purgeable, after = _select_purgeable(now).limit(PURGE_BATCH_SIZE), ""
    while guest_ids := [row.id for row in fetch_all(purgeable.where(Account.id > after))]:
        _delete_guests(guest_ids)
        db.session.commit()
        after = guest_ids[-1]
        time.sleep(PAUSE_S)


def _select_purgeable(now: datetime) -> sa.Select[Any]:
    latest = now - PURGE_MARGIN
    last_use = latest - timedelta(days=current_settings().guest_idle_days)
    is_live = (*Session.live_conditions(latest), Session.last_seen_at > last_use)
    is_recent = sa.or_(sa.and_(*is_live), Session.ended_at > latest)
    has_session = sa.exists().where(Session.account_id == Account.id, is_recent)
    return sa.select(Account.id).where(IS_GUEST, Account.created_at < latest, ~has_session).order_by(Account.id)


def _delete_guests(guest_ids: list[str]) -> None:
    """Delete guests with everything that they own; in the audit log, only their ids stay."""
    if not guest_ids:
        return
    guests = sa.select(Account.id).where(Account.id.in_(guest_ids), Account.status == GUEST)
    personal_data.delete_guest_rows(guests)
    of_guests = AuditEvent.account_id.in_(guest_ids)
    execute_in_session(sa.update(AuditEvent).where(of_guests).values(details=sa.null()))
    execute_in_session(sa.delete(Account).where(Account.id.in_(guest_ids), Account.status == GUEST))
