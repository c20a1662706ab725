"""What a viewer may ask of a running subscription, and what "auto" means."""

from datetime import date, timedelta

DAYS_IN_400_YEARS = 146_097
MONTHS_IN_400_YEARS = 4_800


def cost_per_400_years(price):
    """What a price costs over the calendar's whole cycle: how prices of different intervals compare, in integers."""
    if price.interval.months:
        return price.amount_minor * MONTHS_IN_400_YEARS, price.interval.months
    return price.amount_minor * DAYS_IN_400_YEARS, price.interval.days


def is_upgrade(old, new):
    """Whether the new price asks at least as much for the same time: an upgrade comes at once, a downgrade waits."""
    (old_cost, old_length), (new_cost, new_length) = cost_per_400_years(old), cost_per_400_years(new)
    return new_cost * old_length >= old_cost * new_length


def first_day_after_cancellation(today: date) -> date:
    """Whoever cancels now has used today; the first day without is tomorrow."""
    return today + timedelta(days=1)
