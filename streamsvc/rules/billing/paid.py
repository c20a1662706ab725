"""A subscription's lines and the days they pay for, from which credits are computed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

from streamsvc.rules.billing.calendar import Period, add_days
from streamsvc.rules.billing.facts import BASE_ITEM, BookedLine, Event
from streamsvc.rules.money import round_half_up

RENEWAL = "renewal"


@dataclass(frozen=True)
class Line:
    """An invoice line: `amount_minor` = round_half_up(price * quantity * days / full_days); credits are negative.

    `bill_on` is the civil day on which it is due. `cause` is RENEWAL or the ref of the event that caused the line.
    `credited_identity` is the identity of the line that a credit credits. `units_of` distinguishes the lines of units
    that were added to an add-on later: the ref of the event that added them.
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
    quantity: int = 1
    units_of: str | None = None

    @property
    def days(self) -> int:
        return self.period.days

    @property
    def identity(self) -> str:
        """Return the line's identity, unique in the subscription and the same in every replay of the same facts."""
        identity = f"{self.item}:{self.price_id}:{self.period.start}:{self.period.end}:{self.kind}:{self.cause}"
        return f"{identity}:{self.units_of}" if self.units_of else identity


@dataclass
class BookedCharge:
    """A charge as it was booked; `remaining_minor` is the part of it that is not credited yet.

    `number` counts the subscription's lines.
    """

    number: int
    line: Line
    net_minor: int
    remaining_minor: int


@dataclass
class PaidSpan:
    """The days [start, end) that a charge pays for, with `quantity` of its units not credited yet.

    A pause splits them and moves the later ones.
    """

    charge: BookedCharge
    start: date
    end: date
    quantity: int

    @property
    def item(self) -> str:
        return self.charge.line.item


def starts_new_period(lines: Iterable[tuple[str, str | None, str | None, date | None]]) -> bool:
    """Return whether an invoice with these lines (kind, item, cause, end) bills a new period, not the rest of one.

    A change's charge for the rest of a period ends on the same day as the credit beside it.
    """
    lines = list(lines)
    credited = {(item, end) for kind, item, _, end in lines if kind == "credit"}
    charged = [(item, cause, end) for kind, item, cause, end in lines if kind == "charge"]
    return any(cause == RENEWAL or (item == BASE_ITEM and (item, end) not in credited) for item, cause, end in charged)


def cap_credit(requested_minor: int, remaining_minor: int) -> int:
    """Return the requested credit, limited to the range from 0 to `remaining_minor`."""
    return max(0, min(requested_minor, remaining_minor))


class PaidTime:
    """All lines so far, oldest first, and the spans of days that they pay for."""

    def __init__(self, booked: Mapping[str, BookedLine]):
        self.booked = booked
        self.lines: list[Line] = []
        self.spans: list[PaidSpan] = []

    def add_charge(self, line: Line) -> None:
        """Add a charge and the span of days that it pays for, at the amount booked if it was invoiced already."""
        booked = self.booked.get(line.identity, BookedLine(line.amount_minor))
        charge = BookedCharge(len(self.lines), line, booked.net_minor, booked.net_minor - booked.adjusted_minor)
        self.lines.append(line)
        self.spans.append(PaidSpan(charge, line.period.start, line.period.end, line.quantity))

    def credit_from(self, day: date, event: Event, item: str | None = None) -> list[tuple[Line, Period]]:
        """Credit all paid days from `day` on, of one item or of all. Returns [(credited line, its credited days)]."""
        credited = []
        for span in [span for span in self.spans if span.end > day and item in (None, span.item)]:
            tail = Period(max(span.start, day), span.end)
            self._credit(span.charge, tail, event, span.quantity)
            credited.append((span.charge.line, tail))
            span.end = tail.start
        self.spans = [span for span in self.spans if span.end > span.start]
        return credited

    def credit_surplus(self, item: str, units: int, day: date, event: Event) -> None:
        """Credit the paid days from `day` on of all but `units` of the item, those bought last first."""
        end = max((span.end for span in self.spans if span.item == item), default=day)
        for period, paid in self._paid_units(item, day, end):
            for span in sorted(self._spans_within(item, period), key=lambda span: span.charge.number, reverse=True):
                credited = min(paid - units, span.quantity)
                if credited > 0:
                    self._credit(span.charge, period, event, credited)
                    self._replace_span(span, period, span.quantity - credited)
                    paid -= credited

    def _replace_span(self, span: PaidSpan, period: Period, quantity: int) -> None:
        """Let the span pay for `quantity` units on the days of the period, which it contains."""
        parts = (
            PaidSpan(span.charge, span.start, period.start, span.quantity),
            PaidSpan(span.charge, period.start, period.end, quantity),
            PaidSpan(span.charge, period.end, span.end, span.quantity),
        )
        self.spans.remove(span)
        self.spans += [part for part in parts if part.end > part.start and part.quantity]

    def _spans_within(self, item: str, period: Period) -> list[PaidSpan]:
        return [
            span for span in self.spans if span.item == item and span.end > period.start and span.start < period.end
        ]

    def _paid_units(self, item: str, start: date, end: date) -> list[tuple[Period, int]]:
        """Return the parts of [start, end), in none of which a span ends, and the units of the item paid in each."""
        if end <= start:
            return []
        spans = self._spans_within(item, Period(start, end))
        bounds = sorted({start, end, *(day for span in spans for day in (span.start, span.end) if start < day < end)})
        periods = [Period(first, last) for first, last in pairwise(bounds)]
        return [(period, sum(span.quantity for span in self._spans_within(item, period))) for period in periods]

    def credit_gap(self, start: date, end: date, event: Event) -> None:
        """Credit the days of [start, end) that were paid for but could not be used."""
        for span in self.spans:
            gap = Period(max(span.start, start), min(span.end, end))
            if gap.days > 0:
                self._credit(span.charge, gap, event, span.quantity)

    def _credit(self, charge: BookedCharge, period: Period, event: Event, quantity: int) -> None:
        """Credit the days of `period` of `quantity` units: in proportion to the booked amount, as far as it remains."""
        charged = charge.line
        share = round_half_up(charge.net_minor * period.days * quantity, charged.days * charged.quantity)
        amount = cap_credit(share, charge.remaining_minor)
        line = Line(
            kind="credit",
            item=charged.item,
            price_id=charged.price_id,
            period=period,
            bill_on=event.on,
            amount_minor=-amount,
            full_days=charged.days,
            cause=event.ref,
            credited_identity=charged.identity,
            quantity=quantity,
            units_of=charged.units_of,
        )
        if line.identity in self.booked:
            line = replace(line, amount_minor=self.booked[line.identity].net_minor)
        charge.remaining_minor += line.amount_minor
        self.lines.append(line)

    def freeze(self, since: date, until: date) -> None:
        """Move the paid days from `since` on, unused during a pause that ended on `until`, by the days of the pause."""
        frozen_days, spans = (until - since).days, []
        for span in self.spans:
            if span.end > since:
                split = max(span.start, since)
                if split > span.start:
                    spans.append(PaidSpan(span.charge, span.start, split, span.quantity))
                moved = add_days(split, frozen_days), add_days(span.end, frozen_days)
                span = PaidSpan(span.charge, *moved, span.quantity)
            spans.append(span)
        self.spans = spans

    def price_of(self, item: str, day: date) -> str | None:
        """Return the id of the price at which the item's day is paid; None if it is not."""
        charges = (span.charge for span in self.spans if span.item == item and span.start <= day < span.end)
        return next((charge.line.price_id for charge in charges), None)

    def missing_units(self, item: str, units: int, start: date, end: date) -> list[tuple[Period, int]]:
        """Return the parts of [start, end) in which fewer than `units` of the item are paid, and how many are missing.

        Adjacent days with the same number are one part.
        """
        parts: list[tuple[Period, int]] = []
        for period, paid in self._paid_units(item, start, end):
            missing = units - paid
            if parts and parts[-1][1] == missing and parts[-1][0].end == period.start:
                parts[-1] = Period(parts[-1][0].start, period.end), missing
            elif missing > 0:
                parts.append((period, missing))
        return parts
