"""lines_due: from what happened to the lines that should exist. What exists is subtracted, never edited."""

from streamsvc.rules.billing.facts import Canceled, Reverted
from streamsvc.rules.billing.timeline import Timeline


def replay_timeline(facts, until):
    """What the facts amount to on the civil day `until`: a Timeline with every line up to that day."""
    timeline = Timeline(facts.booked)
    reverted = {event.of for event in facts.events if isinstance(event, Reverted)}
    for event in facts.events:
        if event.ref in reverted or isinstance(event, Reverted):
            continue
        over_from = event.effective if isinstance(event, Canceled) else None
        timeline.bill_until(event.on, over_from)
        timeline.apply(event)
    timeline.bill_until(until)
    return timeline


def lines_due(facts, until):
    """The lines that should exist by `until` and do not yet, oldest first."""
    due = [line for line in replay_timeline(facts, until).lines if line.bill_on <= until]
    return [line for line in due if line.identity not in facts.booked]
