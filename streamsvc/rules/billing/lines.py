"""Compute the invoice lines that should exist from the events. Existing lines are subtracted, never edited."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date

from streamsvc.rules.billing.calendar import add_days
from streamsvc.rules.billing.facts import (
    AddonAdded,
    AddonTrialWithdrawn,
    Canceled,
    Event,
    Facts,
    Gifted,
    Imported,
    IntroWithdrawn,
    PriceChanged,
    PriceScheduled,
    Resumed,
    Reverted,
    Started,
)
from streamsvc.rules.billing.paid import Line
from streamsvc.rules.billing.price_migrations import PriceStep
from streamsvc.rules.billing.timeline import Timeline

SETS_PRICE = (Started, Imported, Gifted, PriceChanged, PriceScheduled, AddonAdded)


def replay_timeline(facts: Facts, until: date) -> Timeline:
    """Replay the events and return the Timeline on the civil day `until`, with every line up to that day.

    Lines are oldest first and their amounts in minor units; a line that starts later than `until` can be among them.
    Raises TypeError if no rule covers the type of an event.
    """
    timeline = Timeline(facts.booked)
    for event in list_effective_events(facts):
        ended_from = event.effective if isinstance(event, Canceled) else None
        timeline.bill_until(event.on, ended_from)
        timeline.apply(event)
    timeline.bill_until(until)
    return timeline


def list_effective_events(facts: Facts) -> list[Event]:
    """List the events that have an effect: without those that were reverted, and without offers that were withdrawn."""
    reverted, trials, intros = set(), set(), {}
    for event in facts.events:
        if isinstance(event, Reverted):
            reverted.add(event.of)
        elif isinstance(event, AddonTrialWithdrawn):
            trials.add(event.of)
        elif isinstance(event, IntroWithdrawn):
            intros[event.price_id] = event.effective
    return [
        _withdraw_offers(event, trials, intros)
        for event in facts.events
        if event.ref not in reverted and not isinstance(event, (Reverted, AddonTrialWithdrawn, IntroWithdrawn))
    ]


def _withdraw_offers(event: Event, trials: Collection[str], intros: Mapping[str, date | None]) -> Event:
    if isinstance(event, AddonAdded) and event.ref in trials:
        event = replace(event, trial_days=0)
    if not isinstance(event, SETS_PRICE) or event.price is None or event.price.id not in intros:
        return event
    until, intro = intros[event.price.id], event.price.intro
    return replace(event, price=replace(event.price, intro=replace(intro, until=until) if intro and until else None))


def lines_due(facts: Facts, until: date, timeline: Timeline | None = None) -> list[Line]:
    """Return the lines that are due by the civil day `until` and not booked yet, oldest first.

    `timeline`: the facts as replayed up to `until`, if the caller has it at hand; without it they are replayed.
    """
    timeline = timeline or replay_timeline(facts, until)
    return [line for line in timeline.lines if line.bill_on <= until and line.identity not in facts.booked]


def upcoming_price_steps(facts: Facts, timeline: Timeline, today: date) -> list[PriceStep]:
    """Return the changes of prices by migrations that are still to come, as if a pause ended today.

    `timeline`: the facts as replayed up to today.
    """
    pending = timeline.pending_migrations
    if not pending or timeline.ended_on:
        return []
    paid_until = timeline.paid_through or timeline.paid_from
    if timeline.paused_on:
        facts = facts.with_events(Resumed("preview", today))
        paid_until = add_days(paid_until, (today - timeline.paused_on).days)
    last_day = max(today, paid_until, *(event.not_before for event in pending))
    later = replay_timeline(facts, add_days(last_day, _longest_period_days(timeline)))
    return later.price_steps[len(timeline.price_steps) :]


def _longest_period_days(timeline: Timeline) -> int:
    """Return the most days that a period of the price can have."""
    interval = timeline.price.interval
    return interval.days or interval.months * 31
