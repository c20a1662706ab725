"""What a viewer may do by the plan that is paid for: one rule, for every reader."""

from datetime import datetime

from streamsvc.rules.billing.access import gives_access

NO_ENTITLEMENTS = {
    "max_streams": 0,
    "max_height": 0,
    "max_profiles": 5,
    "max_devices": 0,
    "downloads": False,
    "ads": True,
}
"""Who has no plan may keep a household's profiles, and watches nothing."""


def compute_entitlements(
    status: str | None, access_until: datetime | None, plan: str | None, features, now: datetime
) -> dict:
    """{active, plan, until, max_streams, max_height, max_profiles, max_devices, downloads, ads, …}.

    `status` and `access_until` are the live subscription's, `features` its plan's; all None where there is none.
    """
    active = status is not None and gives_access(status, access_until, now)
    if not active:
        return {"active": False, "plan": None, "until": None, **NO_ENTITLEMENTS}
    return {"active": True, "plan": plan, "until": access_until, **NO_ENTITLEMENTS, **(features or {})}
