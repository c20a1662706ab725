"""Gifts: how long a gift subscription lasts, what it can extend, what gifts may cost, and the states of a purchase."""

import re
from dataclasses import dataclass
from datetime import date

from streamsvc.rules.billing.calendar import Grid, day_in_month
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


@dataclass(frozen=True)
class GiftAmounts:
    """The amounts of gift credit that can be bought, in minor units: {currency: (least, most)}."""

    limits: dict[str, tuple[int, int]]

    @classmethod
    def parse(cls, text: str) -> "GiftAmounts":
        """Parse `EUR=500-20000 JPY=500-20000`; empty: no gift credit is sold. Raises ValueError."""
        limits = {}
        for part in text.split():
            match = re.fullmatch(r"([A-Z]{3})=([1-9]\d{0,11})-([1-9]\d{0,11})", part, re.ASCII)
            if not match or int(match[2]) > int(match[3]) or match[1] in limits:
                raise ValueError("must list each currency once as CURRENCY=LEAST-MOST, in minor units: EUR=500-20000")
            limits[match[1]] = int(match[2]), int(match[3])
        return cls(limits)

    def allow(self, currency: str, amount_minor: int) -> bool:
        """Whether gift credit of this amount is sold."""
        least, most = self.limits.get(currency, (1, 0))
        return least <= amount_minor <= most


def gift_expiry_day(start: date, months: int) -> date | None:
    """Return the first day on which a gift that can be redeemed for `months` from `start` is expired; 0: never."""
    return day_in_month(start.year, start.month + months, start.day) if months else None


def purchase_state(
    is_void: bool = False,
    is_paid: bool = False,
    is_redeemed: bool = False,
    revoked_for: str | None = None,
    is_expired: bool = False,
    is_delivered: bool = False,
) -> str:
    """Return the state of a gift purchase. `is_void`: its payment failed. `revoked_for`: `refund` or `dispute`."""
    if not is_paid:
        return "canceled" if is_void else "awaiting_payment"
    if is_redeemed:
        return "redeemed"
    if revoked_for:
        return "refunded" if revoked_for == "refund" else "revoked"
    if is_expired:
        return "expired"
    return "delivered" if is_delivered else "scheduled"
