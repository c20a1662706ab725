"""Entitlements: what the subscription's plan permits. Every reader uses this one rule."""

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


def compute_entitlements(
    status: str | None, access_until: datetime | None, plan: str | None, features: dict[str, Any] | None, now: datetime
) -> dict[str, Any]:
    """Return {active, plan, until, max_streams, max_height, max_profiles, max_devices, downloads, ads, …}.

    `status` and `access_until` are those of the live subscription, `features` those of its plan; all None without one.
    """
    active = status is not None and gives_access(status, access_until, now)
    if not active:
        return {"active": False, "plan": None, "until": None, **NO_ENTITLEMENTS}
    return {"active": True, "plan": plan, "until": access_until, **NO_ENTITLEMENTS, **(features or {})}
