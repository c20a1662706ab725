"""Creates, deletes, restores and purges profiles, and sets their PINs."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models import Account, Profile, Session
from streamsvc.operations.accounts import personal_data
from streamsvc.operations.credentials.account_limits import clear_pin_limits
from streamsvc.operations.outbox import audit
from streamsvc.rules.profiles import purge_before
from streamsvc.rules.refusals.accounts import LastProfile, ProfileLimit
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.rules.sign_in.inputs import NewProfileInput
from streamsvc.storage.database import db, fetch_all, lock_row


def create_profile(account_id: str, values: NewProfileInput, max_profiles: int, now: datetime) -> Profile:
    """Create a profile, in the caller's transaction. Raises ProfileLimit."""
    lock_row(Account, account_id)
    require_room(account_id, max_profiles)
    profile = Profile(account_id=account_id, created_at=now, **{"kids": False, "autoplay": True, **values})
    db.session.add(profile)
    db.session.flush()
    audit.record_event("profile_created", account_id, profile=profile.id)
    return profile


def delete_profile(profile: Profile, now: datetime) -> None:
    """Delete a profile, which can be restored for a while with its viewing data. Raises LastProfile.

    The caller holds the lock of the account's row and ends the profile's streams.
    """
    if len(Profile.list_owned(profile.account_id)) == 1:
        raise LastProfile
    profile.deleted_at = now
    deselect_profiles(profile.id)
    audit.record_event("profile_deleted", profile.account_id, profile=profile.id)


def restore_profile(account_id: str, profile_id: str, max_profiles: int, now: datetime) -> Profile:
    """Restore a deleted profile, in the caller's transaction. Raises NotFound, ProfileLimit.

    A profile that is not deleted is returned as it is, so that a repeated request gets the same response.
    """
    lock_row(Account, account_id)
    if existing := Profile.find_owned(account_id, profile_id):
        return existing
    profile = db.session.scalar(Profile.select_restorable(account_id, now).where(Profile.id == profile_id))
    if profile is None:
        raise NotFound
    require_room(account_id, max_profiles)
    profile.deleted_at = None
    audit.record_event("profile_restored", account_id, profile=profile.id)
    return profile


def purge_deleted_profiles(now: datetime) -> None:
    """Delete profiles that can no longer be restored, with their viewing data. Commits after each."""
    is_due = Profile.deleted_at < purge_before(now)
    for (profile_id,) in fetch_all(sa.select(Profile.id).where(is_due)):
        if db.session.scalar(sa.select(Profile.id).where(Profile.id == profile_id, is_due).with_for_update()):
            deselect_profiles(profile_id)
            personal_data.erase_profile_data(profile_id)
            db.session.execute(sa.delete(Profile).where(Profile.id == profile_id))
        db.session.commit()


def require_room(account_id: str, max_profiles: int) -> None:
    """Check the limit of an account whose row is locked. Deleted profiles do not count. Raises ProfileLimit."""
    if len(Profile.list_owned(account_id)) >= max_profiles:
        raise ProfileLimit(limit=max_profiles)


def deselect_profiles(profile_id: str) -> None:
    """Leave every session in which the profile is selected without one, in the caller's transaction."""
    is_selected = Session.profile_id == profile_id
    db.session.execute(sa.update(Session).where(is_selected).values(profile_id=None, pin_verified_at=None))


def set_pin(profile: Profile, pin_hash: str | None) -> None:
    """Set the profile's PIN, or remove it with None, and reset the count of wrong attempts.

    Whoever entered the former PIN has to enter the new one before it counts as a proof.
    """
    profile.pin_hash = pin_hash
    db.session.execute(sa.update(Session).where(Session.profile_id == profile.id).values(pin_verified_at=None))
    clear_pin_limits(profile.account_id, [profile.id])
    audit.record_event("profile_pin_changed", profile.account_id, profile=profile.id, removed=pin_hash is None)
