"""The replay of a subscription's events: each starts, ends or moves paid time and adds its invoice lines."""

from collections.abc import Mapping
from datetime import date
from functools import singledispatchmethod

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import Grid, Period, add_days
from streamsvc.rules.billing.paid import RENEWAL, Line, PaidTime
from streamsvc.rules.billing.pauses import Pause
from streamsvc.rules.money import round_half_up


class Timeline:
    """The state of a subscription: advance it with `apply` and `bill_until`, then read `lines`, `period` and others."""

    started_on: date
    paid_from: date
    """The first day, and the first after the trial: unset before the first event, which is Started or Imported."""

    def __init__(self, booked: Mapping[str, fact.BookedLine]):
        self.paid = PaidTime(booked)
        self.prices: dict[str, fact.PriceTerms] = {}
        self.paid_through: date | None = None
        self.trial_end: date | None = None
        self.period: Period | None = None
        self.grid: Grid | None = None
        self.anchor_day: int | None = None
        self.scheduled_prices: list[fact.PriceScheduled] = []
        self.bill_early_on: date | None = None
        self.next_period_cause: str | None = None  # the ref of the change that starts the next billed period
        self.paused_on: date | None = None
        self.frozen_from: date | None = None  # the first day that the current pause freezes
        self.pauses: list[Pause] = []  # those that are over, oldest first
        self.ended_on: date | None = None
        self.end_scheduled: fact.EndScheduled | None = None
        self._intro_periods: dict[tuple[str, str], list[date]] = {}
        self._charged_prices: dict[str, fact.PriceTerms] = {}

    @property
    def lines(self) -> list[Line]:
        return self.paid.lines

    @property
    def price(self) -> fact.PriceTerms:
        return self.prices[fact.BASE_ITEM]

    def price_used_on(self, day: date) -> fact.PriceTerms:
        """Return the base price that was charged for a paid day; the current one if the day was not charged."""
        price_id = self.paid.price_of(fact.BASE_ITEM, day)
        return self._charged_prices[price_id] if price_id else self.price

    @property
    def ends_on(self) -> date | None:
        """Return the first day without the subscription; None while no end is known."""
        if self.ended_on:
            return self.ended_on
        if self.end_scheduled and (self.end_scheduled.at or not self.next_period_cause):
            return self.end_scheduled.at or self.paid_through or self.paid_from
        return None

    @property
    def next_bill_on(self) -> date | None:
        """Return the civil day on which the next period is due; None if none is."""
        if not self.prices or self.ended_on or self.paused_on:
            return None
        start = self.paid_through or self.paid_from
        # a scheduled plan starts with its own period
        due = start if self.scheduled_prices else self.bill_early_on or start
        return None if self.ends_on and start >= self.ends_on else due

    def bill_until(self, until: date, ended_from: date | None = None) -> None:
        """Charge every period that is due up to and including the day `until`.

        `ended_from` is the first day without a subscription that is canceled retroactively: periods from then on are
        charged only if they were invoiced already and so have to be credited.
        """
        while (due := self.next_bill_on) and due <= until:
            lines = self._next_period(due)
            if ended_from and lines[0].period.start >= ended_from and lines[0].identity not in self.paid.booked:
                return
            for line in lines:
                self.paid.add_charge(line)
            self.period, self.paid_through = lines[0].period, lines[0].period.end
            self.bill_early_on = self.next_period_cause = None

    def _next_period(self, due: date) -> list[Line]:
        """Return the charges of the next period, due on the day `due`."""
        start = self.paid_through or self.paid_from
        self._apply_scheduled_price(start)
        if self.grid is None:
            self.grid = Grid.from_first(start, self.anchor_day, self.price.interval)
            self.anchor_day = self.grid.day if self.price.interval.months else None
        full = self.grid.period_containing(start)
        period = Period(start, min(full.end, self.ends_on or full.end))
        return [self._charge_line(item, period, full, due, self.next_period_cause or RENEWAL) for item in self.prices]

    def _apply_scheduled_price(self, start: date) -> None:
        for change in [event for event in self.scheduled_prices if event.not_before <= start]:
            self.scheduled_prices.remove(change)
            if change.price and change.only_from in (None, self.price.id):
                self._set_price(change.price)

    def _set_price(self, price: fact.PriceTerms) -> None:
        """Set the base price. An interval in days drops the anchor day: later months count from their own start."""
        if price.interval != self.price.interval:
            self.grid = None
            self.anchor_day = self.anchor_day if price.interval.months else None
        self.prices[fact.BASE_ITEM] = price

    def _charge_line(self, item: str, period: Period, full: Period, bill_on: date, cause: str) -> Line:
        """Return the charge for `period`, prorated by its share of the days of the `full` period."""
        price = self._charged_prices[self.prices[item].id] = self.prices[item]
        base = self._amount_of(item, price, full.start)
        amount = round_half_up(base * period.days, full.days)
        return Line("charge", item, price.id, period, bill_on, amount, full.days, cause)

    def _amount_of(self, item: str, price: fact.PriceTerms, period_start: date) -> int:
        if price.intro is None:
            return price.amount_minor
        seen = self._intro_periods.setdefault((item, price.id), [])
        if period_start not in seen:
            seen.append(period_start)
        introductory = seen.index(period_start) < price.intro.periods
        return price.intro.amount_minor if introductory else price.amount_minor

    def _add_trial(self, start: date, cause: str) -> None:
        if self.paid_from > start:
            period = Period(start, self.paid_from)
            self.lines.append(Line("trial", fact.BASE_ITEM, self.price.id, period, start, 0, period.days, cause))
            self.trial_end = self.paid_from
            self.period = Period(self.started_on, self.paid_from)

    @singledispatchmethod
    def apply(self, event: fact.Event) -> None:
        """Apply one event, after `bill_until` the day of its recording. Raises TypeError if no rule covers its type."""
        raise TypeError(f"no rule for {event!r}")

    @apply.register
    def _(self, event: fact.Started) -> None:
        self.started_on = event.start
        self.prices = {fact.BASE_ITEM: event.price}
        self.anchor_day = event.anchor_day
        self.paid_from = add_days(event.start, event.trial_days)
        self._add_trial(event.start, RENEWAL)

    @apply.register
    def _(self, event: fact.Imported) -> None:
        self.started_on = self.paid_from = event.start
        self.prices = {fact.BASE_ITEM: event.price}
        self.anchor_day = event.anchor_day
        self.paid_through = event.paid_through
        self.period = Period(event.start, event.paid_through)

    @apply.register
    def _(self, event: fact.PriceChanged) -> None:
        self.scheduled_prices = []
        if self.paid_through is None:
            self._change_in_trial(event)
        elif event.price.interval == self.price.interval:
            self.prices[fact.BASE_ITEM] = event.price
            for line, tail in self.paid.credit_from(event.effective, event, fact.BASE_ITEM):
                full = Period(tail.start, add_days(tail.start, line.full_days))
                self.paid.add_charge(self._charge_line(fact.BASE_ITEM, tail, full, event.on, event.ref))
            if event.anchor_day:
                self._move_anchor(event.anchor_day, event.on)
        else:
            self._close_period(event.effective, event)
            self.prices[fact.BASE_ITEM] = event.price
            self.grid, self.anchor_day = None, event.anchor_day
            self.paid_through, self.next_period_cause = event.effective, event.ref
            self.bill_early_on = event.on  # a cheaper plan begins tomorrow and is billed now

    def _close_period(self, day: date, event: fact.PriceChanged) -> None:
        """Credit what is paid from the day on. Add-ons that were removed today still count as used today."""
        for item in list(dict.fromkeys(span.item for span in self.paid.spans)):
            first_unused = day if item in self.prices else max(day, event.removed_addons_from or day)
            self.paid.credit_from(first_unused, event, item)

    def _change_in_trial(self, event: fact.PriceChanged) -> None:
        """Change the price during the trial.

        The new plan's trial counts from the original start but cannot end in the past. Add-ons follow the new end.
        """
        self.prices[fact.BASE_ITEM] = event.price
        self.anchor_day = event.anchor_day or (self.anchor_day if event.price.interval.months else None)
        if self.trial_end:
            trial_end = add_days(self.started_on, event.price.trial_days)
            former_end, self.paid_from = self.paid_from, max(event.effective, trial_end)
            self._add_trial(event.effective, event.ref)
            self.trial_end = self.paid_from
            self.next_period_cause = event.ref if self.paid_from == event.effective else None
            self._close_period(self.paid_from, event)
            for item in [item for item in self.prices if item != fact.BASE_ITEM and former_end < self.paid_from]:
                self._charge_addon(item, former_end, event)

    @apply.register
    def _(self, event: fact.PriceScheduled) -> None:
        if event.only_from is None:
            self.scheduled_prices = [scheduled for scheduled in self.scheduled_prices if scheduled.only_from]
        if event.price:
            self.scheduled_prices.append(event)

    @apply.register
    def _(self, event: fact.AnchorMoved) -> None:
        self._move_anchor(event.day, event.on)

    def _move_anchor(self, day: int, on: date) -> None:
        """Move the anchor. Paid days stay paid; the next line bridges to the new day and is billed when it comes."""
        self.anchor_day = day
        if self.paid_through:
            self._start_bridge(self.paid_through, on)

    def _start_bridge(self, paid_through: date, on: date) -> None:
        """Restart the grid at the first anchor day after the paid days; bill the days up to it on the next one."""
        self.grid = Grid.from_first(paid_through, self.anchor_day, self.price.interval)
        self.bill_early_on = min(paid_through, self.grid.period_containing(on).end)

    @apply.register
    def _(self, event: fact.Paused) -> None:
        self.paused_on, self.frozen_from = event.on, event.frozen_from or event.on

    @apply.register
    def _(self, event: fact.Resumed) -> None:
        self._end_pause(event.on, event.freezes)
        due = self.next_bill_on
        if due and due <= event.on:  # nothing paid is left: resuming starts the next period
            self.next_period_cause = event.ref

    def _end_pause(self, day: date, freezes: bool = True) -> None:
        """Move the end of the paid days by the frozen days. A bridge to a moved anchor still applies.

        If it freezes none, days that the pause outlasted are not charged: the next period starts with its end.
        """
        paused_on, frozen_from, self.paused_on, self.frozen_from = self.paused_on, self.frozen_from, None, None
        assert paused_on and frozen_from, "only a paused subscription is resumed"
        paid_until = self.paid_through or self.paid_from
        frozen_days = max(0, (day - frozen_from).days) if freezes and paid_until > frozen_from else 0
        self.pauses.append(Pause(paused_on, day, frozen_days))
        if frozen_days:
            self.paid.freeze(frozen_from, day)
        self._postpone_next_period(frozen_days or max(0, (day - paid_until).days), day)

    def _postpone_next_period(self, days: int, day: date) -> None:
        """Move the end of the paid days, or of the trial, by some days, as of the day on which a pause ends."""
        if not days:
            return
        if self.paid_through is None:
            self.paid_from = add_days(self.paid_from, days)
            self.trial_end = self.trial_end and self.paid_from
            return
        assert self.period is not None, "paid days belong to a period"
        self.paid_through = add_days(self.paid_through, days)
        self.period = Period(self.period.start, self.paid_through)
        if self.bill_early_on:
            self._start_bridge(self.paid_through, day)
        else:
            self.anchor_day = self.paid_through.day if self.price.interval.months else None
            self.grid = Grid.from_first(self.paid_through, self.anchor_day, self.price.interval)

    @apply.register
    def _(self, event: fact.Transferred) -> None:
        """Change nothing: the owner does not affect the price."""

    @apply.register
    def _(self, event: fact.EndScheduled) -> None:
        self.end_scheduled = event

    @apply.register
    def _(self, event: fact.EndDropped) -> None:
        self.end_scheduled = None

    @apply.register
    def _(self, event: fact.Canceled) -> None:
        if self.paused_on:
            self._end_pause(event.on)
        if event.credit:
            self.paid.credit_from(event.effective, event)
        self.ended_on = event.effective

    @apply.register
    def _(self, event: fact.Suspended) -> None:
        self.paid.credit_gap(event.start, event.end, event)

    @apply.register
    def _(self, event: fact.AddonAdded) -> None:
        self.prices[event.item] = event.price
        self._charge_addon(event.item, self.paid.paid_until(event.item, event.on), event)

    def _charge_addon(self, item: str, start: date, event: fact.Event) -> None:
        """Charge an add-on from `start` to the end of the base plan's current period, on the base plan's grid."""
        end = self.paid_through or self.paid_from
        grid = self.grid or Grid.from_first(end, self.anchor_day, self.price.interval)
        if end > start:
            self.paid.add_charge(
                self._charge_line(item, Period(start, end), grid.period_containing(start), event.on, event.ref)
            )

    @apply.register
    def _(self, event: fact.AddonRemoved) -> None:
        self.paid.credit_from(event.effective, event, event.item)
        del self.prices[event.item]
