"""Creates and deletes profiles, and sets their PINs."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, Profile, Session
from streamsvc.operations.accounts import personal_data
from streamsvc.operations.outbox import audit
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import LastProfile, ProfileLimit
from streamsvc.rules.sign_in.inputs import NewProfileInput
from streamsvc.security import rate_limits
from streamsvc.storage.database import db, lock_row


def create_profile(account_id: str, values: NewProfileInput, max_profiles: int, now: datetime) -> Profile:
    """Create a profile, in the caller's transaction. Raises ProfileLimit."""
    lock_row(Account, account_id)
    if len(Profile.list_owned(account_id)) >= max_profiles:
        raise ProfileLimit(limit=max_profiles)
    profile = Profile(account_id=account_id, created_at=now, **{"kids": False, "autoplay": True, **values})
    db.session.add(profile)
    db.session.flush()
    audit.record_event("profile_created", account_id, profile=profile.id)
    return profile


def delete_profile(profile: Profile, now: datetime) -> None:
    """Delete a profile with its viewing data. The caller holds the lock of the account's row. Raises LastProfile."""
    if len(Profile.list_owned(profile.account_id)) == 1:
        raise LastProfile
    db.session.execute(sa.update(Session).where(Session.profile_id == profile.id).values(profile_id=None))
    personal_data.erase_profile_data(profile.id)
    audit.record_event("profile_deleted", profile.account_id, profile=profile.id)
    db.session.delete(profile)


def set_pin(profile: Profile, pin_hash: str | None) -> None:
    """Set the profile's PIN, or remove it with None, and reset the count of wrong attempts."""
    profile.pin_hash = pin_hash
    rate_limits.clear_in_transaction(limits.PIN, profile.id)
    audit.record_event("profile_pin_changed", profile.account_id, profile=profile.id, removed=pin_hash is None)
