"""Blueprints of accounts, sign-in, sessions, devices and profiles."""

from streamsvc.blueprints.sessions import (
    access,
    accounts,
    device_codes,
    devices,
    guests,
    identifiers,
    identities,
    magic_links,
    passkeys,
    passwords,
    profile_transfers,
    profiles,
    recoveries,
    restrictions,
    sessions,
    totp,
)

BLUEPRINTS = (
    access.bp,
    accounts.bp,
    guests.bp,
    sessions.bp,
    profiles.bp,
    restrictions.bp,
    profile_transfers.bp,
    recoveries.bp,
    devices.bp,
    passwords.bp,
    totp.bp,
    device_codes.bp,
    passkeys.bp,
    magic_links.bp,
    identities.bp,
    identifiers.bp,
)
