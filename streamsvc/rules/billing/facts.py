"""What happened to a subscription: the events, in the order they were recorded, and what is already booked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from streamsvc.rules.billing.calendar import Interval

BASE_ITEM = "base"


@dataclass(frozen=True)
class Intro:
    """The first `periods` periods cost `amount_minor` each; a partial first one counts."""

    amount_minor: int
    periods: int


@dataclass(frozen=True)
class PriceTerms:
    """One version of a plan's price; never edited once sold."""

    id: str
    amount_minor: int
    interval: Interval
    trial_days: int = 0
    intro: Intro | None = None


@dataclass(frozen=True)
class Event:
    """`on` is the civil day it was recorded; `ref` names it among the subscription's events."""

    ref: str
    on: date


@dataclass(frozen=True)
class Started(Event):
    price: PriceTerms
    start: date
    anchor_day: int | None = None
    trial_days: int = 0


@dataclass(frozen=True)
class Imported(Event):
    """Came from another system, where it is paid for until `paid_through`; nothing was charged for that here."""

    price: PriceTerms
    start: date
    paid_through: date
    anchor_day: int | None = None


@dataclass(frozen=True)
class PriceChanged(Event):
    """Now: the day `effective` belongs to the new price. `anchor_day` counts where the interval changes too."""

    price: PriceTerms
    effective: date
    anchor_day: int | None = None


@dataclass(frozen=True)
class Reverted(Event):
    """The event `of` did not come about after all: its payment was declined."""

    of: str


@dataclass(frozen=True)
class PriceScheduled(Event):
    """At the first period that starts on or after `not_before`; no price drops what the viewer had scheduled.

    A price migration names the price it replaces in `only_from`: it passes by whoever has left that price.
    """

    price: PriceTerms | None
    not_before: date
    only_from: str | None = None


@dataclass(frozen=True)
class AnchorMoved(Event):
    day: int


@dataclass(frozen=True)
class Paused(Event):
    pass


@dataclass(frozen=True)
class Resumed(Event):
    pass


@dataclass(frozen=True)
class EndScheduled(Event):
    """`at` a date, or None: where the paid time ends. With `credit`, days paid beyond it are given back then."""

    at: date | None = None
    credit: bool = True


@dataclass(frozen=True)
class EndDropped(Event):
    pass


@dataclass(frozen=True)
class Canceled(Event):
    """Over. With `credit`, unused days from `effective` on are given back."""

    effective: date
    credit: bool = True


@dataclass(frozen=True)
class Suspended(Event):
    """Access was cut for the days [start, end) and is back: they are credited."""

    start: date
    end: date


@dataclass(frozen=True)
class AddonAdded(Event):
    item: str
    price: PriceTerms


@dataclass(frozen=True)
class AddonRemoved(Event):
    item: str
    effective: date


@dataclass(frozen=True)
class Transferred(Event):
    """It belongs to another account from then on; its days and prices stay as they are."""

    from_account: str
    to_account: str


@dataclass(frozen=True)
class BookedLine:
    """A line as it was invoiced: net of its discount, and what credit notes took off it since."""

    net_minor: int
    adjusted_minor: int = 0


@dataclass(frozen=True)
class Facts:
    events: tuple[Event, ...]
    booked: Mapping[str, BookedLine] = field(default_factory=dict)

    def with_events(self, *events):
        """The same facts, had these events happened too: what a preview asks about."""
        return Facts((*self.events, *events), self.booked)
