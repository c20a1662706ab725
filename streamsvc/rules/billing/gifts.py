"""How long the days of a gift subscription last, and which subscriptions a gift can extend."""

from datetime import date

from streamsvc.rules.billing.calendar import Grid
from streamsvc.rules.billing.facts import PriceTerms
from streamsvc.rules.billing.timeline import Timeline


def gift_end(
    start: date, periods: int, price: PriceTerms, anchor: tuple[int | None, int | None] = (None, None)
) -> date:
    """Return the first day after a gift of `periods` periods of the price that begins on `start`.

    `anchor`: the anchor day and month of the subscription that it extends, if any.
    """
    return Grid.from_first(start, anchor[0], price.interval, anchor[1]).date(periods)


def can_extend(timeline: Timeline, price_id: str) -> bool:
    """Return whether a gift of the price extends the paid days; if not, it is worth account credit.

    Add-ons would be free in days that only the plan is given for; a moved billing day or a fixed end would cut them.
    """
    has_fixed_end = timeline.end_scheduled is not None and timeline.end_scheduled.at is not None
    is_paid = timeline.paid_through is not None and not timeline.paused_on and not timeline.ended_on
    is_plain = not timeline.billed_addons and not timeline.pending_anchor_moves and not has_fixed_end
    return is_paid and is_plain and timeline.price.id == price_id
