"""The add-ons of a subscription as its row stores them, computed from the timeline."""

from datetime import date

from streamsvc.rules.billing.addons import Addon, granted_units
from streamsvc.rules.billing.calendar import start_of_day
from streamsvc.rules.billing.timeline import Timeline


def addon_rows(timeline: Timeline) -> list[dict]:
    """Return the add-ons as stored in `Subscription.addons`, in the order in which they were added."""
    return [_addon_row(timeline, addon) for addon in timeline.addons.values()]


def _addon_row(timeline: Timeline, addon: Addon) -> dict:
    removal = addon.removed_on or _scheduled_removal(timeline, addon)
    ends = min((day for day in (removal, addon.ends_on) if day), default=None)
    days = {"trial_end": addon.trial_end, "ends_at": addon.ends_on, "cancel_at": removal, "ends": ends}
    row = {"item": addon.item, "price_id": addon.price.id, "quantity": addon.quantity}
    return row | {name: day and day.isoformat() for name, day in days.items()}


def _scheduled_removal(timeline: Timeline, addon: Addon) -> date | None:
    """Return the first day without the add-on, if it was removed as of its end or a scheduled plan includes it."""
    days = [addon.charged_from or timeline.paid_end] if addon.is_removal_scheduled else []
    days += [
        max(change.not_before, timeline.paid_end)
        for change in timeline.scheduled_prices
        if addon.item in change.includes
    ]
    return min(days, default=None)


def grant_rows(timeline: Timeline, today: date, time_zone: str) -> list[list]:
    """Return the units that the add-ons grant, as stored in `Subscription.addon_grants`."""
    grants = granted_units(timeline.billed_addons, timeline.ending_units, timeline.paid_end, today)
    return [
        [grant.item, grant.quantity, start_of_day(grant.until, time_zone).isoformat() if grant.until else None]
        for grant in grants
    ]
