"""The input of the billing rules: a subscription's events, in the order of recording, and its booked lines."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date

from streamsvc.rules.billing.calendar import Interval

BASE_ITEM = "base"


@dataclass(frozen=True)
class Intro:
    """An introductory price: the first `periods` periods cost `amount_minor` each; a partial first period counts."""

    amount_minor: int
    periods: int
    until: date | None = None
    """Periods that start on this day or later are not introductory, since the offer was withdrawn."""


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
    """An event. `ref` identifies it among the subscription's events; `on` is the civil day of its recording."""

    ref: str
    on: date


@dataclass(frozen=True)
class Started(Event):
    """The subscription started on the day `start`.

    Of all events: without `has_intro`, the price has no introductory amount, since the household has had it already.
    """

    price: PriceTerms
    start: date
    anchor_day: int | None = None
    trial_days: int = 0
    anchor_month: int | None = None
    has_intro: bool = True


@dataclass(frozen=True)
class Imported(Event):
    """The subscription was imported from another system, which charged for the days up to `paid_through`.

    With `counts_as_paid`, these days count as paid at the price: another plan is charged by what it costs more on them.
    Without it, which is how subscriptions were imported before, a change charges nothing for them.
    """

    price: PriceTerms
    start: date
    paid_through: date
    anchor_day: int | None = None
    anchor_month: int | None = None
    counts_as_paid: bool = False
    has_intro: bool = True


@dataclass(frozen=True)
class Gifted(Event):
    """The subscription started on the day `start` with a gift, which pays for the days up to `paid_through`."""

    price: PriceTerms
    start: date
    paid_through: date


@dataclass(frozen=True)
class GiftAdded(Event):
    """A gift extended the paid days up to `paid_through`."""

    paid_through: date


@dataclass(frozen=True)
class PriceChanged(Event):
    """The price changes now; the day `effective` is the first that is charged at the new price.

    With `anchor_day`, a new interval begins with it; within the same interval, the anchor moves to it.
    `removed_addons_from`: the first day of which add-ons that were removed before are credited, if the change closes
    the period: the day after it. None means `effective`, as it was before today counted as used. `includes`: the
    add-ons that the new plan contains; they are no longer items of their own, and what is paid of them is credited.
    `bridges_late`: see AnchorMoved.
    """

    price: PriceTerms
    effective: date
    anchor_day: int | None = None
    removed_addons_from: date | None = None
    includes: tuple[str, ...] = ()
    has_intro: bool = True
    bridges_late: bool = False


@dataclass(frozen=True)
class Reverted(Event):
    """The event with the ref `of` is undone, because its payment was declined."""

    of: str


@dataclass(frozen=True)
class PriceScheduled(Event):
    """The price changes with the first period that starts on or after `not_before`.

    With the price None, the change that the viewer scheduled is dropped. A price migration has its id in `migration`,
    the price that it replaces (of the base plan or of an add-on) in `only_from`, and in `effective` its own effective
    date, which `not_before` exceeds if the notice was given later. `includes`: the add-ons that the new plan contains;
    they are no longer items of their own from then on.
    """

    price: PriceTerms | None
    not_before: date
    only_from: str | None = None
    migration: str | None = None
    effective: date | None = None
    includes: tuple[str, ...] = ()
    has_intro: bool = True


@dataclass(frozen=True)
class AnchorMoved(Event):
    """The billing day moves to the `day` of the month, for prices by the year also to the `month`, if it is given.

    Without `bridges_late`, the bridge to the new day may have been billed at once, as bridges once were.
    """

    day: int
    month: int | None = None
    bridges_late: bool = False


@dataclass(frozen=True)
class Paused(Event):
    """The subscription is paused.

    `frozen_from`: the first day that it freezes, the one after the pause. None freezes the day of the pause too, as
    pauses did before that day counted as used.
    """

    frozen_from: date | None = None


@dataclass(frozen=True)
class Resumed(Event):
    """The pause is over. Without `freezes`, it was too short to freeze paid days."""

    freezes: bool = True


@dataclass(frozen=True)
class EndScheduled(Event):
    """The subscription ends on the date `at`, or with the paid time if `at` is None.

    With `credit`, days paid beyond that are credited then.
    """

    at: date | None = None
    credit: bool = True


@dataclass(frozen=True)
class EndDropped(Event):
    """The scheduled end is withdrawn."""


@dataclass(frozen=True)
class Canceled(Event):
    """The subscription ended on `effective`. With `credit`, unused days from then on are credited."""

    effective: date
    credit: bool = True


@dataclass(frozen=True)
class Suspended(Event):
    """Access was suspended for the days [start, end) and is restored; those days are credited."""

    start: date
    end: date


@dataclass(frozen=True)
class AddonAdded(Event):
    """An add-on was added: `quantity` units of it, free of charge for `trial_days`, up to the day `ends_on`."""

    item: str
    price: PriceTerms
    quantity: int = 1
    trial_days: int = 0
    ends_on: date | None = None
    has_intro: bool = True


@dataclass(frozen=True)
class AddonQuantityChanged(Event):
    """The number of units of an add-on changed; `effective` is the first day with `quantity` units."""

    item: str
    quantity: int
    effective: date


@dataclass(frozen=True)
class AddonEndSet(Event):
    """The add-on has the end date `ends_on`; with None, it has none."""

    item: str
    ends_on: date | None


@dataclass(frozen=True)
class AddonRemovalScheduled(Event):
    """The add-on ends with its paid days, or with its trial."""

    item: str


@dataclass(frozen=True)
class AddonRemovalDropped(Event):
    """The scheduled removal of the add-on is withdrawn."""

    item: str


@dataclass(frozen=True)
class AddonRemoved(Event):
    """An add-on was removed; `effective` is the first day without it."""

    item: str
    effective: date


@dataclass(frozen=True)
class Transferred(Event):
    """The subscription moved to another account; its paid days and prices do not change."""

    from_account: str
    to_account: str


@dataclass(frozen=True)
class IntroWithdrawn(Event):
    """The household has had the introductory price of the plan elsewhere, before this subscription was charged it.

    No period that starts on `effective` or later has the price's introductory amount; without it, none has.
    """

    price_id: str
    effective: date | None = None


@dataclass(frozen=True)
class AddonTrialWithdrawn(Event):
    """The add-on that the event with the ref `of` added has no trial: the household has had it elsewhere."""

    of: str


@dataclass(frozen=True)
class BookedLine:
    """A line as it was invoiced: its amount less discount, and what credit notes have taken off it since."""

    net_minor: int
    adjusted_minor: int = 0


@dataclass(frozen=True)
class Facts:
    """The events of a subscription, and its booked lines by line identity."""

    events: tuple[Event, ...]
    booked: Mapping[str, BookedLine] = field(default_factory=dict)

    def with_events(self, *events: Event) -> "Facts":
        """Return the facts with these events appended, for a preview."""
        return Facts((*self.events, *events), self.booked)

    def without_events(self, refs: Collection[str]) -> "Facts":
        """Return the facts without the events that have these refs."""
        return Facts(tuple(event for event in self.events if event.ref not in refs), self.booked)
