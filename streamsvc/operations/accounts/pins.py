"""Profile PINs: hashed like passwords; five wrong ones lock the profile for a while on the device they came from."""

import sqlalchemy as sa

from streamsvc.models import Profile
from streamsvc.operations.credentials.account_limits import pin_limit
from streamsvc.operations.outbox import audit
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.refusals.accounts import PinInvalid, PinLocked, PinRequired, TooManyAttempts
from streamsvc.security import password_hashing, rate_limits
from streamsvc.storage.database import db, execute_write


def check_pin(profile: Profile | sa.Row, pin: str | None, device_id: str, owner_proved: bool) -> None:
    """Check the PIN of a profile that has one. Raises PinRequired, PinInvalid, PinLocked.

    `owner_proved`: the viewer authenticated recently as the account's owner, whom wrong PINs on other devices must not
    lock out. No transaction is open meanwhile. A wrong PIN is recorded in the audit log and committed.
    """
    if profile.pin_hash is None:
        return
    if pin is None:
        raise PinRequired
    on_device, in_total = pin_limit(profile.id, device_id), (limits.PIN_TOTAL, profile.id)
    tested = [on_device] if owner_proved else [on_device, in_total]
    try:
        counts = rate_limits.hit_all(tested)
    except TooManyAttempts as error:
        raise PinLocked(int(error.headers["Retry-After"])) from None
    if not password_hashing.verify_password(profile.pin_hash, pin, known_device=True):
        is_locked = any(rule.is_exhausted_at(count) for (rule, _), count in zip(tested, counts, strict=True))
        audit.record_event(
            "profile_pin_fail", profile.account_id, profile=profile.id, device=device_id, locked=is_locked
        )
        db.session.commit()
        raise PinInvalid
    with rate_limits.counter_transaction() as counters:
        counters.clear(*on_device)
        if in_total in tested:
            counters.refund(*in_total)
    if password_hashing.needs_rehash(profile.pin_hash):
        new_hash = password_hashing.hash_password(pin, known_device=True)
        is_unchanged = (Profile.id == profile.id, Profile.pin_hash == profile.pin_hash)
        execute_write(sa.update(Profile).where(*is_unchanged).values(pin_hash=new_hash))
