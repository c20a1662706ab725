"""A subscription's life replayed: each event closes, opens or moves paid time, and leaves the lines it causes."""

from dataclasses import dataclass, replace
from datetime import date
from functools import singledispatchmethod

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import Grid, Period, add_days
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
    of: str | None = None

    @property
    def days(self):
        return self.period.days

    @property
    def identity(self):
        """Unique within the subscription: running the same facts twice names the same lines."""
        return f"{self.item}:{self.price_id}:{self.period.start}:{self.period.end}:{self.kind}:{self.cause}"


@dataclass
class Live:
    """A charge line whose days are not all used: what a credit can still be taken from."""

    line: Line
    start: date
    end: date
    net_minor: int
    left_minor: int


def capped(asked_minor, left_minor):
    """What can be credited of what is asked: never more than is left of the line, never less than nothing."""
    return max(0, min(asked_minor, left_minor))


class Timeline:
    """Feed it events with apply() and days with bill(); read `lines`, `period`, `next_bill_on` and the rest."""

    def __init__(self, booked):
        self.booked = booked
        self.lines = []
        self.prices = {}  # item -> Price
        self.live = []
        self.started = self.paid_from = self.paid_through = None
        self.trial_end = self.period = self.grid = self.anchor_day = None
        self.scheduled = []  # PriceScheduled, in order
        self.bill_early_on = None
        self.cause = RENEWAL
        self.paused_on = self.ended_on = self.end_scheduled = None
        self._intro_periods = {}

    @property
    def price(self):
        return self.prices[fact.BASE]

    @property
    def ends_on(self):
        """The first day without the subscription, as far as it is known."""
        if self.ended_on:
            return self.ended_on
        if self.end_scheduled:
            return self.end_scheduled.at or self.paid_through or self.paid_from
        return None

    @property
    def next_bill_on(self):
        if self.started is None or self.ended_on or self.paused_on:
            return None
        due = self.bill_early_on or self.paid_through or self.paid_from
        start = self.paid_through or self.paid_from
        return None if self.ends_on and start >= self.ends_on else due

    def bill(self, until, over_from=None):
        """Charge every period that falls due up to and on the day `until`.

        `over_from`: the subscription turned out to have ended then; periods from there on count only where they were
        invoiced already, and so have to be credited.
        """
        while (due := self.next_bill_on) and due <= until:
            lines = self._next_period(due)
            if over_from and lines[0].period.start >= over_from and lines[0].identity not in self.booked:
                return
            for line in lines:
                self._add_charge(line)
            self.period, self.paid_through = lines[0].period, lines[0].period.end
            self.bill_early_on, self.cause = None, RENEWAL

    def _next_period(self, due):
        start = self.paid_through or self.paid_from
        self._take_scheduled_price(start)
        if self.grid is None:
            self.grid = Grid.from_first(start, self.anchor_day, self.price.interval)
            self.anchor_day = self.grid.day
        full = self.grid.around(start)
        period = Period(start, min(full.end, self.ends_on or full.end))
        return [self._charge(item, period, full, due, self.cause) for item in self.prices]

    def _take_scheduled_price(self, start):
        for change in [one for one in self.scheduled if one.not_before <= start]:
            self.scheduled.remove(change)
            if change.only_from in (None, self.price.id):
                self._set_price(change.price)

    def _set_price(self, price):
        if price.interval != self.price.interval:
            self.grid = None
        self.prices[fact.BASE] = price

    def _charge(self, item, period, full, bill_on, cause):
        price = self.prices[item]
        base = self._amount_of(item, price, full.start)
        amount = round_half_up(base * period.days, full.days)
        return Line("charge", item, price.id, period, bill_on, amount, full.days, cause)

    def _add_charge(self, line):
        booked = self.booked.get(line.identity, fact.Booked(line.amount_minor))
        left = booked.net_minor - booked.adjusted_minor
        self.lines.append(line)
        self.live.append(Live(line, line.period.start, line.period.end, booked.net_minor, left))

    def _amount_of(self, item, price, period_start):
        if price.intro is None:
            return price.amount_minor
        seen = self._intro_periods.setdefault((item, price.id), [])
        if period_start not in seen:
            seen.append(period_start)
        introductory = seen.index(period_start) < price.intro.periods
        return price.intro.amount_minor if introductory else price.amount_minor

    def _credit(self, live, period, event):
        """Give back the days of `period`, from what the line was booked at, and never more than is left of it."""
        of = live.line
        amount = capped(round_half_up(live.net_minor * period.days, of.days), live.left_minor)
        line = Line("credit", of.item, of.price_id, period, event.on, -amount, of.days, event.ref, of.identity)
        if line.identity in self.booked:
            line = replace(line, amount_minor=self.booked[line.identity].net_minor)
        live.left_minor += line.amount_minor
        self.lines.append(line)

    def _credit_from(self, day, event, item=None):
        """Credit all that is paid from `day` on; answers the lines cut, as they were before."""
        cut = []
        for live in [one for one in self.live if one.end > day and item in (None, one.line.item)]:
            tail = Period(max(live.start, day), live.end)
            self._credit(live, tail, event)
            cut.append((live.line, tail))
            live.end = tail.start
        self.live = [live for live in self.live if live.end > live.start]
        return cut

    def _trial(self, start, cause):
        if self.paid_from > start:
            period = Period(start, self.paid_from)
            self.lines.append(Line("trial", fact.BASE, self.price.id, period, start, 0, period.days, cause))
            self.trial_end = self.paid_from
            self.period = Period(self.started, self.paid_from)

    @singledispatchmethod
    def apply(self, event):
        raise TypeError(f"no rule for {event!r}")

    @apply.register
    def _(self, event: fact.Started):
        self.started = event.start
        self.prices = {fact.BASE: event.price}
        self.anchor_day = event.anchor_day
        self.paid_from = add_days(event.start, event.trial_days)
        self._trial(event.start, RENEWAL)

    @apply.register
    def _(self, event: fact.Imported):
        self.started = self.paid_from = event.start
        self.prices = {fact.BASE: event.price}
        self.anchor_day = event.anchor_day
        self.paid_through = event.paid_through
        self.period = Period(event.start, event.paid_through)

    @apply.register
    def _(self, event: fact.PriceChanged):
        self.scheduled = []
        if self.paid_through is None:
            self._change_in_trial(event)
        elif event.price.interval == self.price.interval:
            self.prices[fact.BASE] = event.price
            for line, tail in self._credit_from(event.effective, event, fact.BASE):
                self._charge_rest(line, tail, event)
        else:
            self._credit_from(event.effective, event)
            self.prices[fact.BASE] = event.price
            self.grid, self.anchor_day = None, event.anchor_day or event.effective.day
            self.paid_through, self.bill_early_on, self.cause = event.effective, None, event.ref

    def _charge_rest(self, line, tail, event):
        full = Period(tail.start, add_days(tail.start, line.full_days))
        self._add_charge(self._charge(line.item, tail, full, event.on, event.ref))

    def _change_in_trial(self, event):
        """The new plan's trial counts from the original start; it may not end in the past."""
        self.prices[fact.BASE] = event.price
        if self.trial_end:
            self.paid_from = max(event.effective, add_days(self.started, event.price.trial_days))
            self._trial(event.effective, event.ref)

    @apply.register
    def _(self, event: fact.PriceScheduled):
        if event.only_from is None:
            self.scheduled = [one for one in self.scheduled if one.only_from]
        if event.price:
            self.scheduled.append(event)

    @apply.register
    def _(self, event: fact.AnchorMoved):
        """What is paid stays paid; the next line is a bridge to the new day, billed when that day first comes."""
        self.anchor_day = event.day
        if self.paid_through:
            self.grid = Grid.from_first(self.paid_through, event.day, self.price.interval)
            self.bill_early_on = min(self.paid_through, self.grid.around(event.on).end)

    @apply.register
    def _(self, event: fact.Paused):
        self.paused_on = event.on

    @apply.register
    def _(self, event: fact.Resumed):
        self._thaw(event.on)

    def _thaw(self, day):
        """Paid days are frozen, not lost: the end moves by the days of the pause."""
        frozen, since = (day - self.paused_on).days, self.paused_on
        self.paused_on = None
        if not frozen:
            return
        if self.paid_through is None:
            self.paid_from = add_days(self.paid_from, frozen)
            self.trial_end = self.trial_end and self.paid_from
            return
        for live in [one for one in self.live if one.end > since]:
            live.end = add_days(live.end, frozen)
            live.start = add_days(live.start, frozen) if live.start >= since else live.start
        self.paid_through = add_days(self.paid_through, frozen)
        self.period = Period(self.period.start, self.paid_through)
        self.bill_early_on = None
        self.anchor_day = self.paid_through.day
        self.grid = Grid.from_first(self.paid_through, self.anchor_day, self.price.interval)

    @apply.register
    def _(self, event: fact.EndScheduled):
        self.end_scheduled = event

    @apply.register
    def _(self, event: fact.EndDropped):
        self.end_scheduled = None

    @apply.register
    def _(self, event: fact.Canceled):
        if self.paused_on:
            self._thaw(event.on)
        if event.credit:
            self._credit_from(event.effective, event)
        self.ended_on = event.effective

    @apply.register
    def _(self, event: fact.Suspended):
        for live in list(self.live):
            gap = Period(max(live.start, event.start), min(live.end, event.end))
            if gap.days > 0:
                self._credit(live, gap, event)

    @apply.register
    def _(self, event: fact.AddonAdded):
        """Charged to the end of the base plan's running period, on the base plan's grid."""
        self.prices[event.item] = event.price
        end = self.paid_through or self.paid_from
        grid = self.grid or Grid.from_first(end, self.anchor_day, self.price.interval)
        full = grid.around(event.on)
        if end > event.on:
            self._add_charge(self._charge(event.item, Period(event.on, end), full, event.on, event.ref))

    @apply.register
    def _(self, event: fact.AddonRemoved):
        self._credit_from(event.effective, event, event.item)
        del self.prices[event.item]
