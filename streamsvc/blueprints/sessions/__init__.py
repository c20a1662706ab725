"""Blueprints of accounts, sign-in, sessions, devices and profiles."""

from streamsvc.blueprints.sessions import (
    accounts,
    device_codes,
    devices,
    guests,
    identifiers,
    identities,
    magic_links,
    passkeys,
    passwords,
    profiles,
    sessions,
    totp,
)

BLUEPRINTS = (
    accounts.bp,
    guests.bp,
    sessions.bp,
    profiles.bp,
    devices.bp,
    passwords.bp,
    totp.bp,
    device_codes.bp,
    passkeys.bp,
    magic_links.bp,
    identities.bp,
    identifiers.bp,
)
