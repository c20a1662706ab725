"""Time that was paid in another system: what it is worth where a subscription changes its plan within it."""

from dataclasses import dataclass
from datetime import date

from streamsvc.rules.billing.calendar import Grid, Period, add_days
from streamsvc.rules.billing.facts import PriceTerms
from streamsvc.rules.money import round_half_up


@dataclass
class ImportedTime:
    """The days before `end`, each of which counts as paid at the price with which the subscription was imported.

    They are worth something only where another charge covers the same days. They are never credited, so that no more
    comes back than was paid here.
    """

    price: PriceTerms
    grid: Grid
    end: date

    def paid_minor(self, period: Period) -> int:
        """Return what was paid for the days of the period: their share of the price of the full period."""
        days = max(0, (min(period.end, self.end) - period.start).days)
        return round_half_up(self.price.amount_minor * days, self.grid.period_containing(period.start).days)

    def postpone(self, frozen_from: date, days: int) -> None:
        """Move the end by the days that a pause froze from `frozen_from` on."""
        if self.end > frozen_from:
            self.end = add_days(self.end, days)
