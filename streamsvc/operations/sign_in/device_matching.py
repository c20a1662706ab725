"""Finds the device of a sign-in that does not name it, so that signing in again makes no second device.

Two things show which device it is: a session token that the device still has, or that it looks like a device on which
nobody is signed in. The second is a guess. It decides in which row the sign-in is listed and nothing else: the owner is
notified as for a new device, and neither trust nor a rate limit depends on it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from streamsvc.models import Device, Session
from streamsvc.rules.rate_limits import source_network
from streamsvc.rules.request_facts import RequestFacts
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.storage.database import db

UNNAMED_DEVICE = "Unnamed device"
MAX_CANDIDATES = 20


class DeviceMatch(NamedTuple):
    """The device, and whether a session token of it was presented; otherwise it is a guess."""

    device: Device
    is_proved: bool


def find_device(
    account_id: str, described: Mapping[str, Any] | None, facts: RequestFacts, now: datetime
) -> DeviceMatch | None:
    """Find the account's device on which somebody signs in without naming it; None for a new one.

    `described` is the {name, kind} that the client sent; without a name, only a token can show the device.
    """
    if device := _find_by_token(account_id, facts):
        return DeviceMatch(device, is_proved=True)
    if not described or described["name"] == UNNAMED_DEVICE:
        return None
    device = _find_signed_out(account_id, described["name"], described["kind"], facts, now)
    return DeviceMatch(device, is_proved=False) if device else None


def _find_by_token(account_id: str, facts: RequestFacts) -> Device | None:
    """Find the device of a session of the account, live or ended, by the token that the client still has.

    A session that is bound to a key needs the proof of that key.
    """
    if not facts.former_token:
        return None
    is_bound_to_other = sa.and_(Session.dpop_jkt.is_not(None), Session.dpop_jkt != (facts.dpop_jkt or ""))
    return db.session.scalar(
        Device.select_owned(account_id)
        .join(Session, Session.device_id == Device.id)
        .where(
            Session.token_hash == hash_token(facts.former_token),
            Session.account_id == account_id,
            Session.impersonated_by.is_(None),
            sa.not_(is_bound_to_other),
        )
    )


def _find_signed_out(account_id: str, name: str, kind: str, facts: RequestFacts, now: datetime) -> Device | None:
    """Find the latest device of this name, kind, browser or app, and network, that has no live session.

    Two televisions of one model look alike: one that is in use is never taken for the other.
    """
    in_use = sa.select(Session.device_id).where(Session.account_id == account_id, *Session.live_conditions(now))
    candidates = db.session.execute(
        sa.select(Device, Session.address)
        .join(Session, Session.device_id == Device.id)
        .where(
            Device.account_id == account_id,
            Device.removed_at.is_(None),
            Device.name == name,
            Device.kind == kind,
            Session.account_id == account_id,
            Session.impersonated_by.is_(None),
            Session.user_agent == facts.user_agent,
            Device.id.not_in(in_use.correlate(None)),
        )
        .order_by(Session.created_at.desc(), Session.id.desc())
        .limit(MAX_CANDIDATES)
    )
    return next((device for device, address in candidates if source_network(address) == facts.network), None)
