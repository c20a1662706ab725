"""What an account's subscriptions grant, whoever bills them, from the row that authentication reads."""

from datetime import datetime
from typing import Any

from streamsvc.models.subscriptions import Plan
from streamsvc.models.subscriptions.plans import FEATURES
from streamsvc.rules.billing.entitlements import compute_entitlements, parse_grants
from streamsvc.rules.stores.sources import combine_entitlements


def compute_account_entitlements(row: Any, now: datetime) -> dict[str, Any]:
    """Return the entitlements of a row with an account and its own live subscription, if it has one.

    The row has `subscription_status`, `access_until`, `started_on`, `addon_grants`, `plan_code`, `features`,
    `included_addons`, `store_access` and `time_zone`. `now` is the account's time.
    """
    grants = parse_grants(row.included_addons, row.addon_grants)
    own = compute_entitlements(
        row.subscription_status,
        row.access_until,
        row.plan_code,
        row.features,
        now,
        grants,
        Plan.load_addon_features(grant.addon for grant in grants) if grants else None,
    )
    if not row.store_access:
        return own
    scheduled_start = row.started_on if row.subscription_status == "incomplete" else None
    plans = {plan.code: plan for plan in FEATURES.all()}
    return combine_entitlements(own, row.store_access, plans, scheduled_start, row.time_zone, now)
