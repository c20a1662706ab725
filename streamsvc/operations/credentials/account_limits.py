"""The back-offs of one account, which its owner reopens by a new password."""

import sqlalchemy as sa

from streamsvc.models import Account, Device, Profile
from streamsvc.rules import rate_limits as limits
from streamsvc.security import rate_limits
from streamsvc.storage.database import db


def clear_account_limits(account: Account, identifiers: list[str]) -> None:
    """Reset every back-off of the account, its known devices and its profiles, in the caller's transaction.

    `identifiers`: what failed sign-ins of the account are counted by. Guesses of the second factor stay limited:
    SECOND_FACTOR_TOTAL keeps its count.
    """
    devices = sa.select(Device.id).where(Device.account_id == account.id, *Device.visible_conditions())
    profiles = db.session.scalars(sa.select(Profile.id).where(Profile.account_id == account.id))
    cleared: list[rate_limits.Limit] = [
        *((limits.SIGN_IN_ACCOUNT, identifier) for identifier in identifiers),
        (limits.SECOND_FACTOR, account.id),
        (limits.REAUTHENTICATION, account.id),
    ]
    for device_id in db.session.scalars(devices):
        cleared += [(limits.SIGN_IN_DEVICE, device_id), (limits.SECOND_FACTOR, device_id)]
    rate_limits.clear_in_transaction(*cleared)
    clear_pin_limits(account.id, list(profiles))


def pin_limit(profile_id: str, device_id: str) -> rate_limits.Limit:
    """Return the back-off of a profile's PIN on one device."""
    return limits.PIN, f"{profile_id} {device_id}"


def clear_pin_limits(account_id: str, profile_ids: list[str]) -> None:
    """Reset what counts wrong PINs of these profiles, on every device of the account, in the caller's transaction."""
    devices = sa.select(Device.id).where(Device.account_id == account_id, *Device.visible_conditions())
    device_ids = list(db.session.scalars(devices))
    for profile_id in profile_ids:
        on_devices = (pin_limit(profile_id, device_id) for device_id in device_ids)
        rate_limits.clear_in_transaction((limits.PIN_TOTAL, profile_id), *on_devices)
