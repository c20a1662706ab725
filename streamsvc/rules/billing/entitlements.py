"""Entitlements: what the subscription's plan permits. Every reader uses this one rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streamsvc.rules.billing.access import gives_access

NO_ENTITLEMENTS = {
    "max_streams": 0,
    "max_height": 0,
    "max_profiles": 5,
    "max_devices": 0,
    "downloads": False,
    "ads": True,
}
"""Without a plan an account can have a household's profiles, but can play nothing."""


ADDED_FEATURES = ("max_streams", "max_profiles", "max_devices")
"""Features that add-ons add to the plan's, each unit of them."""


@dataclass(frozen=True)
class Grant:
    """`quantity` units of an add-on, which count before the moment `until`, if it is not None."""

    addon: str
    quantity: int = 1
    until: datetime | None = None


def parse_grants(included: Sequence[str] | None, rows: Sequence[Sequence[Any]] | None) -> list[Grant]:
    """Return what a plan includes and what a subscription's `addon_grants` list: [[add-on, quantity, until]]."""
    bought = [
        Grant(addon, quantity, datetime.fromisoformat(until) if until else None)
        for addon, quantity, until in rows or ()
    ]
    return [*map(Grant, included or ()), *bought]


def compute_entitlements(
    status: str | None,
    access_until: datetime | None,
    plan: str | None,
    features: dict[str, Any] | None,
    now: datetime,
    grants: Sequence[Grant] = (),
    addon_features: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return {active, plan, plans, until, max_streams, max_height, max_profiles, max_devices, downloads, ads, …}.

    `plans` are the plan, then its add-ons: all whose titles may be played.
    `status` and `access_until` are those of the live subscription, `features` those of its plan; all None without one.
    `grants` are its add-ons, and `addon_features` says what a unit of each adds. The largest grant of an add-on counts.
    """
    active = status is not None and gives_access(status, access_until, now)
    if not active:
        return {"active": False, "plan": None, "plans": [], "until": None, **NO_ENTITLEMENTS}
    units: dict[str, int] = {}
    for grant in grants:
        if grant.until is None or now < grant.until:
            units[grant.addon] = max(units.get(grant.addon, 0), grant.quantity)
    held = {"active": True, "plan": plan, "plans": [plan, *units], "until": access_until}
    entitlements = {**NO_ENTITLEMENTS, **(features or {}), **held}
    for addon, quantity in units.items():
        _add_features(entitlements, (addon_features or {}).get(addon, {}), quantity)
    return entitlements


def _add_features(entitlements: dict[str, Any], added: Mapping[str, Any], quantity: int) -> None:
    """Add an add-on's features: numbers per unit, the larger height, downloads, and freedom from ads."""
    for name in ADDED_FEATURES:
        entitlements[name] += added.get(name, 0) * quantity
    entitlements["max_height"] = max(entitlements["max_height"], added.get("max_height", 0))
    entitlements["downloads"] = entitlements["downloads"] or added.get("downloads", False)
    entitlements["ads"] = entitlements["ads"] and added.get("ads", True)
