"""Add-ons as items of a subscription: quantity, trial, end."""

from dataclasses import dataclass
from datetime import date

from streamsvc.rules.billing.facts import PriceTerms


@dataclass
class Addon:
    """An add-on of a subscription as of a day in the replay of its events."""

    item: str
    price: PriceTerms
    added_by: str
    """The ref of the event that added it: the cause of its first charge after a trial."""
    quantity: int = 1
    trial_end: date | None = None
    """The first day after its trial, if it has or had one."""
    is_trial_over: bool = True
    """Whether its first charge, at the end of the trial, was made or is no longer needed."""
    ends_on: date | None = None
    """The end date that it was given."""
    is_removal_scheduled: bool = False
    """Whether it ends with its paid days, or with its trial."""
    removed_on: date | None = None
    """The first day without it, once it was removed."""

    @property
    def charged_from(self) -> date | None:
        """The day of its first charge, while its trial lasts."""
        return None if self.is_trial_over else self.trial_end

    def last_day_after(self, paid_end: date) -> date | None:
        """Return the first day without it, as far as that is known; `paid_end` is the end of the paid days."""
        scheduled_end = (self.charged_from or paid_end) if self.is_removal_scheduled else None
        ends = [day for day in (self.removed_on, self.ends_on, scheduled_end) if day]
        return min(ends, default=None)


@dataclass(frozen=True)
class EndingUnits:
    """`quantity` units of an item that count up to the day before `until`: those in use on the day they were given up.

    They are the total of that day, not an addition to the item's own quantity.
    """

    item: str
    quantity: int
    until: date


@dataclass(frozen=True)
class UnitGrant:
    """Units of an add-on that the subscription grants; before the day `until`, if that is known."""

    item: str
    quantity: int
    until: date | None = None


def granted_units(addons: list[Addon], ending: list[EndingUnits], paid_end: date, today: date) -> list[UnitGrant]:
    """Return what the add-ons grant on `today` and later. Of several grants of one item, the largest counts."""
    grants = [
        UnitGrant(addon.item, addon.quantity, addon.last_day_after(paid_end))
        for addon in addons
        if addon.removed_on is None
    ]
    grants += [UnitGrant(units.item, units.quantity, units.until) for units in ending]
    return [grant for grant in grants if grant.until is None or grant.until > today]
