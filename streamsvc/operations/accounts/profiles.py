"""Profiles come, go and lock."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, Profile, Session
from streamsvc.operations.accounts import personal_data
from streamsvc.operations.outbox import audit
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import LastProfile, ProfileLimit
from streamsvc.security import rate_limits
from streamsvc.storage.database import db, lock


def add(account_id: str, given: dict, most: int, now: datetime) -> Profile:
    """A new profile in the caller's unit of work. Raises ProfileLimit."""
    lock(Account, account_id)
    if len(Profile.all_of(account_id)) >= most:
        raise ProfileLimit(limit=most)
    profile = Profile(account_id=account_id, created_at=now, **{"kids": False, "autoplay": True} | given)
    db.session.add(profile)
    db.session.flush()
    audit.record("profile_created", account_id, profile=profile.id)
    return profile


def remove(profile: Profile, now: datetime) -> None:
    """Remove it with all that is kept of its watching. Raises LastProfile. The account's row is locked by now."""
    if len(Profile.all_of(profile.account_id)) == 1:
        raise LastProfile
    db.session.execute(sa.update(Session).where(Session.profile_id == profile.id).values(profile_id=None))
    personal_data.erase_profile(profile.id)
    audit.record("profile_deleted", profile.account_id, profile=profile.id)
    db.session.delete(profile)


def set_pin(profile: Profile, pin_hash: str | None) -> None:
    """Close the profile with this PIN, or with none."""
    profile.pin_hash = pin_hash
    rate_limits.clear_within(limits.PIN, profile.id)
    audit.record("profile_pin_changed", profile.account_id, profile=profile.id, removed=pin_hash is None)
