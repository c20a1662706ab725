"""The lines of a subscription, and which days they have paid for: what a credit can still be taken from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from streamsvc.rules.billing.calendar import Period, add_days
from streamsvc.rules.billing.facts import BASE_ITEM, BookedLine, Event
from streamsvc.rules.money import round_half_up

RENEWAL = "renewal"


@dataclass(frozen=True)
class Line:
    """One position of an invoice: `amount_minor` = round_half_up(price * days / full_days); credits are negative.

    `bill_on` is the civil day it falls due. `cause` is RENEWAL or the event behind it; `of` the line it credits.
    """

    kind: str
    item: str
    price_id: str
    period: Period
    bill_on: date
    amount_minor: int
    full_days: int
    cause: str
    credited_identity: str | None = None

    @property
    def days(self) -> int:
        return self.period.days

    @property
    def identity(self) -> str:
        """Unique within the subscription: running the same facts twice names the same lines."""
        return f"{self.item}:{self.price_id}:{self.period.start}:{self.period.end}:{self.kind}:{self.cause}"


@dataclass
class BookedCharge:
    """A charge as it was booked; `left_minor` is what nobody has taken off it yet."""

    line: Line
    net_minor: int
    remaining_minor: int


@dataclass
class PaidSpan:
    """Days [start, end) that a charge pays for. A pause cuts them in two and moves the later ones."""

    charge: BookedCharge
    start: date
    end: date

    @property
    def item(self) -> str:
        return self.charge.line.item


def starts_new_period(lines: Iterable[tuple[str, str, str, date]]) -> bool:
    """Whether an invoice with these lines (kind, item, cause, end) is for a new period, not for the rest of one.

    What a change charges for the rest of a period ends where the credit beside it ends.
    """
    lines = list(lines)
    credited = {(item, end) for kind, item, _, end in lines if kind == "credit"}
    charged = [(item, cause, end) for kind, item, cause, end in lines if kind == "charge"]
    return any(cause == RENEWAL or (item == BASE_ITEM and (item, end) not in credited) for item, cause, end in charged)


def cap_credit(requested_minor: int, remaining_minor: int) -> int:
    """What can be credited of what is asked: never more than is left of the line, never less than nothing."""
    return max(0, min(requested_minor, remaining_minor))


class PaidTime:
    """Every line so far, oldest first, and the stretches of days that are paid for and not all used."""

    def __init__(self, booked: Mapping[str, BookedLine]):
        self.booked = booked
        self.lines: list[Line] = []
        self.spans: list[PaidSpan] = []

    def add_charge(self, line: Line) -> None:
        booked = self.booked.get(line.identity, BookedLine(line.amount_minor))
        charge = BookedCharge(line, booked.net_minor, booked.net_minor - booked.adjusted_minor)
        self.lines.append(line)
        self.spans.append(PaidSpan(charge, line.period.start, line.period.end))

    def credit_from(self, day: date, event: Event, item: str | None = None) -> list[tuple[Line, Period]]:
        """Credit all that is paid from `day` on, of one item or of all; answers each line cut, with the days taken."""
        cut = []
        for stretch in [one for one in self.spans if one.end > day and item in (None, one.item)]:
            tail = Period(max(stretch.start, day), stretch.end)
            self._credit(stretch.charge, tail, event)
            cut.append((stretch.charge.line, tail))
            stretch.end = tail.start
        self.spans = [one for one in self.spans if one.end > one.start]
        return cut

    def credit_gap(self, start: date, end: date, event: Event) -> None:
        """Credit the days [start, end), which were paid for and could not be used."""
        for stretch in self.spans:
            gap = Period(max(stretch.start, start), min(stretch.end, end))
            if gap.days > 0:
                self._credit(stretch.charge, gap, event)

    def _credit(self, charge: BookedCharge, period: Period, event: Event) -> None:
        """Give back the days of `period`, from what the line was booked at, and never more than is left of it."""
        of = charge.line
        amount = cap_credit(round_half_up(charge.net_minor * period.days, of.days), charge.remaining_minor)
        line = Line("credit", of.item, of.price_id, period, event.on, -amount, of.days, event.ref, of.identity)
        if line.identity in self.booked:
            line = replace(line, amount_minor=self.booked[line.identity].net_minor)
        charge.remaining_minor += line.amount_minor
        self.lines.append(line)

    def freeze(self, since: date, until: date) -> None:
        """The days from `since` on were not used before `until`: they are still to come, as many as they were."""
        frozen, moved = (until - since).days, []
        for stretch in self.spans:
            if stretch.end > since:
                later = max(stretch.start, since)
                if later > stretch.start:
                    moved.append(PaidSpan(stretch.charge, stretch.start, later))
                stretch = PaidSpan(stretch.charge, add_days(later, frozen), add_days(stretch.end, frozen))
            moved.append(stretch)
        self.spans = moved

    def paid_until(self, item: str, day: date) -> date:
        """The first day from `day` on that is not paid for this item, where what is paid has no hole."""
        return max([day, *(one.end for one in self.spans if one.item == item)])
