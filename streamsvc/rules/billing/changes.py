"""Plan changes and cancellation: what is an upgrade, and when a cancellation takes effect."""

from datetime import date, timedelta

from streamsvc.rules.billing.facts import PriceTerms

DAYS_IN_400_YEARS = 146_097
MONTHS_IN_400_YEARS = 4_800


def cost_per_400_years(price: PriceTerms) -> tuple[int, int]:
    """Return (cost, interval length), whose quotient is the price over 400 years, a full cycle of the calendar.

    It compares prices of different intervals in integers.
    """
    if price.interval.months:
        return price.amount_minor * MONTHS_IN_400_YEARS, price.interval.months
    return price.amount_minor * DAYS_IN_400_YEARS, price.interval.days


def is_upgrade(old: PriceTerms, new: PriceTerms) -> bool:
    """Return whether the new price costs at least as much for the same time.

    With `when=auto`, an upgrade takes effect now and a downgrade at the end of the period.
    """
    (old_cost, old_length), (new_cost, new_length) = cost_per_400_years(old), cost_per_400_years(new)
    return new_cost * old_length >= old_cost * new_length


def first_day_of_new_price(paid_today: PriceTerms, new: PriceTerms, today: date) -> date:
    """Return the first day that is charged at the new price if the change is made now.

    Today counts as used at the dearest price that it had: a cheaper price is charged from tomorrow on.
    """
    return today if is_upgrade(paid_today, new) else today + timedelta(days=1)


def first_day_after_cancellation(today: date) -> date:
    """Return the first day without the subscription if it is canceled today: tomorrow, since today counts as used."""
    return today + timedelta(days=1)
