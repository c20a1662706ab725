"""The live subscriptions of an account, whoever bills them, and what they grant together."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypedDict

from streamsvc.rules.billing.access import gives_access
from streamsvc.rules.billing.calendar import civil_day, start_of_day
from streamsvc.rules.billing.entitlements import Grant, compute_entitlements
from streamsvc.rules.stores.state import MANAGEMENT_URLS, is_live

OMITTED_MEANS_UNLIMITED = ("max_devices_by_kind", "max_device_removals")


class StoreAccess(TypedDict):
    """A store's subscription, as the account's row has it; moments are in ISO 8601, days in the account's time zone."""

    id: str
    source: str
    status: str
    plan: str
    until: str | None
    renews: bool
    period: list[str | None]


def parse_moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def first_day_after(moment: datetime, time_zone: str) -> date:
    """Return the first civil day that begins at this moment or after it."""
    day = civil_day(moment, time_zone)
    return day if start_of_day(day, time_zone) == moment else day + timedelta(days=1)


def bridged_until(access: StoreAccess, scheduled_start: date | None, time_zone: str) -> datetime | None:
    """Return the end of access, which lasts to the start of a subscription of ours that begins the day after it.

    `scheduled_start`: the day on which such a subscription begins, if one is scheduled.
    """
    until = parse_moment(access["until"])
    if until and scheduled_start and not access["renews"] and first_day_after(until, time_zone) == scheduled_start:
        return start_of_day(scheduled_start, time_zone)
    return until


def list_live(accesses: Iterable[StoreAccess] | None, now: datetime) -> list[StoreAccess]:
    """List the subscriptions that are live now: one that does not renew ends by itself."""
    return [
        each for each in accesses or () if is_live(each["status"], each["renews"], parse_moment(each["until"]), now)
    ]


def combine_entitlements(
    own: dict[str, Any],
    accesses: Iterable[StoreAccess],
    plans: Mapping[str, Any],
    scheduled_start: date | None,
    time_zone: str,
    now: datetime,
) -> dict[str, Any]:
    """Return what the own subscription's entitlements and the stores' grant together.

    `plans`: rows with `features`, `includes` and `addon_features`, by code. Of each feature, the best that any grants
    counts; `plan` is that of the one with the most streams, `until` the latest end.
    """
    addon_features = {code: plan.addon_features for code, plan in plans.items()}
    granted = [own] if own["active"] else []
    for access in accesses:
        until, plan = bridged_until(access, scheduled_start, time_zone), plans.get(access["plan"])
        status = access["status"] if until == parse_moment(access["until"]) else "active"
        if plan is None or until is None or not gives_access(status, until, now):
            continue
        grants = [Grant(code) for code in plan.includes]
        granted.append(compute_entitlements(status, until, access["plan"], plan.features, now, grants, addon_features))
    if not granted:
        return own
    best, *others = sorted(granted, key=_rank, reverse=True)
    for other in others:
        best = _join(best, other)
    return best


def _rank(entitlements: Mapping[str, Any]) -> tuple[Any, ...]:
    return entitlements["max_streams"], entitlements["max_height"], entitlements["max_devices"]


def _join(best: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the better of both in each feature. A feature that only one has counts, unless its absence is better."""
    joined = {**other, **best}
    for name in best.keys() & other.keys():
        joined[name] = _better(name, best[name], other[name])
    for name in OMITTED_MEANS_UNLIMITED:
        if not (name in best and name in other):
            joined.pop(name, None)
    joined["plans"] = list(dict.fromkeys([*best["plans"], *other["plans"]]))
    return joined


def _better(name: str, first: Any, second: Any) -> Any:
    if name == "until":
        return None if first is None or second is None else max(first, second)
    if name == "ads":
        return first and second
    if isinstance(first, bool):
        return first or second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return max(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return {kind: max(first[kind], second[kind]) for kind in first.keys() & second.keys()}
    return first


def source_views(own: dict[str, Any] | None, accesses: Sequence[StoreAccess], now: datetime) -> list[dict[str, Any]]:
    """Return the live subscriptions of an account: its own, if it has one, and those of the stores."""
    stores = [
        {
            "subscription_id": access["id"],
            "source": access["source"],
            "status": access["status"],
            "plan": access["plan"],
            "until": access["until"],
            "renews": access["renews"],
            "management_url": MANAGEMENT_URLS[access["source"]],
        }
        for access in list_live(accesses, now)
    ]
    return ([own] if own else []) + stores
