"""Explains why an account can or cannot play a title: runs every check of a playback without starting one."""

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Account, Profile
from streamsvc.models.accounts import GUEST
from streamsvc.models.subscriptions import Plan, Subscription
from streamsvc.operations.playback import device_places, items, streams
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.maturity import effective_max_age
from streamsvc.rules.playback import stream_rules
from streamsvc.rules.playback.access import AccessCheck, ViewerFacts, access_checks
from streamsvc.rules.playback.inputs import ExplainInput
from streamsvc.rules.playback.restrictions import closed_until, parse_title_rules
from streamsvc.rules.refusals.access import NotSignedIn
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.playback import DeviceLimit, StreamLimit
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.security.entitlements import compute_account_entitlements
from streamsvc.storage.database import fetch_all, fetch_one

ACCOUNT_WITH_PLAN = (
    sa.select(
        Account.status.label("account_status"),
        Account.country,
        Account.time_zone,
        Account.store_access,
        Subscription.status.label("subscription_status"),
        Subscription.access_until,
        Subscription.started_on,
        Plan.code.label("plan_code"),
        Plan.features,
        Plan.includes.label("included_addons"),
        Subscription.addon_grants,
    )
    .outerjoin(Subscription, sa.and_(Subscription.account_id == Account.id, Subscription.status.in_(LIVE_STATUSES)))
    .outerjoin(Plan, Plan.id == Subscription.plan_id)
    .where(Account.id == sa.bindparam("account_id"), Account.status != GUEST)
)
PROFILES_OF_ACCOUNT = (
    sa.select(Profile.id, Profile.max_age, Profile.kids, Profile.restrictions)
    .where(Profile.account_id == sa.bindparam("account_id"), *Profile.visible_conditions())
    .order_by(Profile.id)
)


def explain_playback(body: ExplainInput, network_refused: bool, now: datetime) -> dict:
    """Return {allowed, code, facts, checks} for a loaded ExplainIn. `network_refused`: whether its address is.

    Raises NotFound for an unknown account or profile.
    """
    at = body["at"] or now
    account_id = body["account_id"]
    account = fetch_one(ACCOUNT_WITH_PLAN, {"account_id": account_id})
    if account is None:
        raise NotFound
    profile = _get_profile(account_id, body["profile_id"])
    restrictions = profile.restrictions if profile else None
    entitlements = compute_account_entitlements(account, at if body["at"] else clock.account_now(account_id, now))
    viewer = ViewerFacts(
        max_age=effective_max_age(profile.max_age, profile.kids) if profile else None,
        title_rules=parse_title_rules(restrictions),
        network_refused=network_refused,
        closed_until=closed_until(restrictions["viewing_hours"], account.time_zone, at) if restrictions else None,
        country=body["country"] or account.country,
        subscribed=entitlements["active"],
        plans=tuple(sorted(entitlements["plans"])),
        has_profile=profile is not None,
    )
    playable = items.find_playable(body["item_id"], at=at)
    facts = playable.facts_for(viewer) if playable and not playable.is_series else None
    takes_slot = not (playable and playable.is_open_extra)
    results = [
        AccessCheck("account", account.account_status == "active", NotSignedIn.code),
        AccessCheck("in_catalogue", facts is not None, NotFound.code),
        *(access_checks(facts, viewer, at) if facts else ()),
        *(_limit_checks(account_id, body["device_id"], entitlements, at) if takes_slot else ()),
    ]
    failed = next((check for check in results if not check.passed), None)
    return {
        "allowed": failed is None,
        "code": failed.code if failed else None,
        "facts": {
            "at": at,
            "country": viewer.country,
            "profile_id": profile.id if profile else None,
            "max_age": profile.max_age if profile else None,
            "min_age": facts.min_age_in(viewer.country) if facts else None,
            "subscription_status": account.subscription_status,
            "plan": entitlements["plan"],
            "plans": entitlements["plans"],
        },
        "checks": [_check_view(check) for check in results],
    }


def _get_profile(account_id: str, profile_id: str | None) -> sa.Row | None:
    """Return the requested profile, else the account's first, or None if it has none. Raises NotFound."""
    profiles = fetch_all(PROFILES_OF_ACCOUNT, {"account_id": account_id})
    if profile_id is None:
        return profiles[0] if profiles else None
    if (requested := next((profile for profile in profiles if profile.id == profile_id), None)) is None:
        raise NotFound
    return requested


def _limit_checks(account_id: str, device_id: str | None, entitlements: dict, at: datetime) -> Iterator[AccessCheck]:
    """Yield whether the plan allows another stream, and the device if one is named."""
    if not entitlements["active"]:
        return
    limits = streams.stream_limits(entitlements)
    live = streams.list_live_streams(account_id, at)
    busy = [stream.device_id for stream in live]
    if device_id:
        known = device_places.list_stream_devices(account_id, at)
        applied = device_places.list_applied_limits(account_id, device_id, known, limits.devices, at)
        can_evict = limits.evicts_devices and device_places.can_free_places(account_id, 1, limits.devices, at)
        evictable = [device.device_id for device in known if device.device_id not in busy] if can_evict else []
        evicted = stream_rules.devices_to_evict(applied, evictable)
        yield AccessCheck("device_limit", evicted is not None, DeviceLimit.code)
    has_slot = sum(stream.takes_slot for stream in live) < limits.streams or (limits.ends_oldest and limits.streams > 0)
    yield AccessCheck("stream_limit", has_slot, StreamLimit.code)


def _check_view(check: AccessCheck) -> dict:
    """Return {check, passed, code, detail}; code and detail are null if the check passed."""
    refusals: dict[str, type[Refusal]] = {cls.code: cls for cls in (NotSignedIn, DeviceLimit, StreamLimit)}
    refusal = (refusals | stream_rules.REFUSAL_BY_CODE)[check.code]
    return {
        "check": check.name,
        "passed": check.passed,
        "code": None if check.passed else check.code,
        "detail": None if check.passed else refusal.detail,
    }
