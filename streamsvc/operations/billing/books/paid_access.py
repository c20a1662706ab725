"""Whether access that is given today is paid for."""

from collections.abc import Iterable
from datetime import date, datetime

import sqlalchemy as sa

from streamsvc.gateways.payments import minimum_charge_minor
from streamsvc.models.subscriptions import Subscription
from streamsvc.operations.billing.core import debts
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.access import gives_access
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.paid import PaidSpan
from streamsvc.rules.billing.timeline import Timeline


def find_unpaid_access(
    subscription: Subscription, facts: fact.Facts, timeline: Timeline, invoiced: Iterable[sa.Row], now: datetime
) -> tuple[str, str | None] | None:
    """Return what is expected of the charge for today, and what was found; None without access or without a fault.

    `timeline`: the history without the changes that wait for their payment. `invoiced`: the subscription's lines, each
    with its invoice.
    """
    if not gives_access(subscription.status, subscription.access_until, now):
        return None
    today = civil_day(now, subscription.time_zone)
    if (span := _find_span(timeline, today)) is None:
        is_gifted = timeline.has_gifts and today < timeline.paid_end
        is_free = is_gifted or _is_in_trial(timeline, today) or _is_carried_over(facts, timeline, today)
        return None if is_free else (f"a charge for {today}", None)
    identity, price_id = span.charge.line.identity, span.charge.line.price_id
    if price_id != subscription.price_id and not _was_price_changed(facts, today):
        return subscription.price_id, price_id
    line = next((line for line in invoiced if line.identity == identity), None)
    if line is None:
        return f"an invoice of {identity}", None
    return None if _gives_its_days(line, today) else (f"{identity} paid or in its grace period", line.status)


def _find_span(timeline: Timeline, today: date) -> PaidSpan | None:
    spans = (span for span in timeline.paid.spans if span.item == fact.BASE_ITEM)
    return next((span for span in spans if span.start <= today < span.end), None)


def _is_in_trial(timeline: Timeline, today: date) -> bool:
    return timeline.trial_end is not None and today < timeline.trial_end


def _is_carried_over(facts: fact.Facts, timeline: Timeline, today: date) -> bool:
    """Whether the day was paid for in the system from which the subscription was taken over."""
    charged_from = (line.period.start for line in timeline.lines if line.kind == "charge")
    is_charged = any(start <= today for start in charged_from)
    return isinstance(facts.events[0], fact.Imported) and today < timeline.paid_end and not is_charged


def _was_price_changed(facts: fact.Facts, today: date) -> bool:
    """Whether the price was changed today: the day stays at the dearest price that it had."""
    return any(isinstance(event, fact.PriceChanged) and event.on == today for event in facts.events)


def _gives_its_days(line: sa.Row, today: date) -> bool:
    """Whether the invoice of the line gives the days of its charge: void or written off, they stay the customer's."""
    if line.status != "open":
        return True
    if line.issued_at is None:
        return False
    if line.first_failed_on is None or line.balance_minor < minimum_charge_minor(line.currency):
        return True
    return today < debts.current_dunning_schedule().suspends_on(line.first_failed_on)
