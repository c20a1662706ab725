"""Profile PINs: hashed like passwords; five wrong ones lock the profile for a while."""

import sqlalchemy as sa

from streamsvc.models import Profile
from streamsvc.operations.outbox import audit
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import PinInvalid, PinLocked, PinRequired, TooManyAttempts
from streamsvc.security import password_hashing, rate_limits
from streamsvc.storage.database import db, execute_write


def check_pin(profile: Profile | sa.Row, pin: str | None) -> None:
    """Check the PIN of a profile that has one. Raises PinRequired, PinInvalid, PinLocked.

    No transaction is open meanwhile. A wrong PIN is recorded in the audit log and committed.
    """
    if profile.pin_hash is None:
        return
    if pin is None:
        raise PinRequired
    try:
        count = rate_limits.hit(limits.PIN, profile.id)
    except TooManyAttempts as error:
        raise PinLocked(int(error.headers["Retry-After"])) from None
    if not password_hashing.verify_password(profile.pin_hash, pin, known_device=True):
        is_locked = limits.PIN.is_exhausted_at(count)
        audit.record_event("profile_pin_fail", profile.account_id, profile=profile.id, locked=is_locked)
        db.session.commit()
        raise PinInvalid
    rate_limits.clear(limits.PIN, profile.id)
    if password_hashing.needs_rehash(profile.pin_hash):
        new_hash = password_hashing.hash_password(pin, known_device=True)
        is_unchanged = (Profile.id == profile.id, Profile.pin_hash == profile.pin_hash)
        execute_write(sa.update(Profile).where(*is_unchanged).values(pin_hash=new_hash))
