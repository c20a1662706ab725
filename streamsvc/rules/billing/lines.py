"""Compute the invoice lines that should exist from the events. Existing lines are subtracted, never edited."""

from datetime import date

from streamsvc.rules.billing.facts import Canceled, Facts, Reverted
from streamsvc.rules.billing.paid import Line
from streamsvc.rules.billing.timeline import Timeline


def replay_timeline(facts: Facts, until: date) -> Timeline:
    """Replay the events and return the Timeline on the civil day `until`, with every line up to that day.

    Lines are oldest first and their amounts in minor units; a line that starts later than `until` can be among them.
    Raises TypeError if no rule covers the type of an event.
    """
    timeline = Timeline(facts.booked)
    reverted = {event.of for event in facts.events if isinstance(event, Reverted)}
    for event in facts.events:
        if event.ref in reverted or isinstance(event, Reverted):
            continue
        ended_from = event.effective if isinstance(event, Canceled) else None
        timeline.bill_until(event.on, ended_from)
        timeline.apply(event)
    timeline.bill_until(until)
    return timeline


def lines_due(facts: Facts, until: date, timeline: Timeline | None = None) -> list[Line]:
    """Return the lines that are due by the civil day `until` and not booked yet, oldest first.

    `timeline`: the facts as replayed up to `until`, if the caller has it at hand; without it they are replayed.
    """
    timeline = timeline or replay_timeline(facts, until)
    return [line for line in timeline.lines if line.bill_on <= until and line.identity not in facts.booked]
