"""The replay of a subscription's events: each starts, ends or moves paid time and adds its invoice lines."""

from collections.abc import Mapping
from datetime import date
from functools import singledispatchmethod

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.calendar import Grid, Period, add_days
from streamsvc.rules.billing.paid import RENEWAL, Line, PaidTime
from streamsvc.rules.billing.price_migrations import MigrationPath, PriceStep, close_over
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
        self.anchor_month: int | None = None
        self.pending_anchor_moves: list[str] = []  # the refs of the moves whose bridge is not billed yet
        self._former_anchor: tuple[int | None, int | None] = (None, None)  # the day and month before those moves
        self.scheduled_prices: list[fact.PriceScheduled] = []
        self.price_steps: list[PriceStep] = []  # by which migrations changed the prices, oldest first
        self._migration_paths: dict[str, MigrationPath] = {}
        self.next_period_cause: str | None = None  # the ref of the change that starts the next billed period
        self.paused_on: date | None = None
        self.ended_on: date | None = None
        self.end_scheduled: fact.EndScheduled | None = None
        self._intro_periods: dict[tuple[str, str], list[date]] = {}

    @property
    def lines(self) -> list[Line]:
        return self.paid.lines

    @property
    def price(self) -> fact.PriceTerms:
        return self.prices[fact.BASE_ITEM]

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
        return None if self.ends_on and start >= self.ends_on else start

    @property
    def bridge(self) -> Period | None:
        """Return the days from the end of the paid time to the first day of a moved anchor; None if no move is planned.

        The days may be none: then only later periods differ.
        """
        if not self.pending_anchor_moves or self.ended_on or not self.price.interval.months:
            return None
        start = self.paid_through or self.paid_from
        bridge = Period(start, self._grid_from(start).date(0))
        return bridge if bridge.days or (self.anchor_day, self.anchor_month) != self._former_anchor else None

    @property
    def coming_prices(self) -> set[str]:
        """Return the ids of the prices that the subscription has, or comes to by what is scheduled."""
        return close_over(self._chosen_prices(), self.scheduled_prices)

    @property
    def pending_migrations(self) -> list[fact.PriceScheduled]:
        """Return the migrations that may still change a price of the subscription."""
        if not self.scheduled_prices:
            return []
        reached = close_over([*self._chosen_prices(), *self._left_prices()], self.scheduled_prices)
        return [event for event in self.scheduled_prices if event.only_from in reached]

    @property
    def applied_migrations(self) -> list[fact.PriceScheduled]:
        """Return the migrations that led to the current prices since they were chosen."""
        return [event for path in self._migration_paths.values() for event in path.applied]

    def awaits(self, event: fact.PriceScheduled) -> bool:
        """Return whether the migration, if it were scheduled now, could change a price of the subscription."""
        return event.only_from in self.coming_prices and not self._is_superseded(event)

    def _chosen_prices(self) -> list[str]:
        planned = [event.price.id for event in self.scheduled_prices if event.price and event.only_from is None]
        return [*(price.id for price in self.prices.values()), *planned]

    def _left_prices(self) -> list[str]:
        return [price_id for path in self._migration_paths.values() for price_id in path.left_prices]

    def _is_superseded(self, event: fact.PriceScheduled) -> bool:
        return any(path.is_superseded(event, self.prices[item].id) for item, path in self._migration_paths.items())

    def bill_until(self, until: date, ended_from: date | None = None) -> None:
        """Charge every period that is due up to and including the day `until`.

        `ended_from` is the first day without a subscription that is canceled retroactively: periods from then on are
        charged only if they were invoiced already and so have to be credited.
        """
        while (due := self.next_bill_on) and (due <= until or self._is_bridge_booked(due)):
            lines = self._next_period(due)
            if ended_from and lines[0].period.start >= ended_from and lines[0].identity not in self.paid.booked:
                return
            for line in lines:
                self.paid.add_charge(line)
            self.period, self.paid_through = lines[0].period, lines[0].period.end
            self.next_period_cause = None
            self.pending_anchor_moves = []

    def _is_bridge_booked(self, start: date) -> bool:
        """Return whether the bridge that starts on that day is invoiced already: early, as was once the rule."""
        if not self.pending_anchor_moves or self.grid is None:
            return False
        period = Period(start, min(self.grid.period_containing(start).end, self.ends_on or date.max))
        line = Line("charge", fact.BASE_ITEM, self.price.id, period, start, 0, period.days, RENEWAL)
        return line.identity in self.paid.booked

    def _next_period(self, due: date) -> list[Line]:
        """Return the charges of the next period, due on the day `due`."""
        start = self.paid_through or self.paid_from
        self._apply_scheduled_prices(start)
        if self.grid is None:
            self.grid = self._grid_from(start)
            self.anchor_day = self.grid.day if self.price.interval.months else None
        full = self.grid.period_containing(start)
        period = Period(start, min(full.end, self.ends_on or full.end))
        return [self._charge_line(item, period, full, due, self.next_period_cause or RENEWAL) for item in self.prices]

    def _grid_from(self, start: date) -> Grid:
        """Return the grid of the current price whose origin is the first anchor on or after `start`."""
        return Grid.from_first(start, self.anchor_day, self.price.interval, self.anchor_month)

    def _apply_scheduled_prices(self, start: date) -> None:
        """Apply what is scheduled for a period that starts on `start`: the viewer's own choice, then migrations."""
        for event in [event for event in self.scheduled_prices if event.only_from is None]:
            if event.price and event.not_before <= start:
                self.scheduled_prices.remove(event)
                self._set_price(event.price)
                self._forget_migrations(fact.BASE_ITEM)
        is_first_charge = self.paid_through is None and self.trial_end is None  # at the price that was agreed
        if self.scheduled_prices and not is_first_charge:
            for item in self.prices:
                self._migrate(item, start)

    def _migrate(self, item: str, start: date) -> None:
        """Apply the migrations of one item's price that have come by the day `start`."""
        path, old_price = self._migration_paths.get(item, MigrationPath()), self.prices[item]
        migrations = [event for event in self.scheduled_prices if event.only_from]
        while event := path.find_next(migrations, self.prices[item].id, start):
            path.follow(event, self.prices[item].id)
            migrations.remove(event)
            assert event.price is not None, "a migration has a new price"
            self.prices[item] = event.price
        if path.applied:
            self._migration_paths[item] = path
            self.scheduled_prices = [
                event
                for event in self.scheduled_prices
                if event not in path.applied and not path.is_superseded(event, self.prices[item].id)
            ]
        if self.prices[item] != old_price:
            self.price_steps.append(PriceStep(item, old_price, self.prices[item], start, path.applied[-1]))

    def _forget_migrations(self, item: str) -> None:
        """Forget how migrations moved an item whose price was chosen anew, and those that cannot apply any more."""
        self._migration_paths.pop(item, None)
        pending = self.pending_migrations
        self.scheduled_prices = [e for e in self.scheduled_prices if e.only_from is None or e in pending]

    def _set_price(self, price: fact.PriceTerms) -> None:
        """Set the base price. An interval in days drops the anchor day: later months count from their own start."""
        if price.interval != self.price.interval:
            self.grid = None
            self.anchor_day = self.anchor_day if price.interval.months else None
            self.anchor_month = self.anchor_month if price.interval.is_whole_years else None
        self.prices[fact.BASE_ITEM] = price

    def _charge_line(self, item: str, period: Period, full: Period, bill_on: date, cause: str) -> Line:
        """Return the charge for `period`, prorated by its share of the days of the `full` period."""
        price = self.prices[item]
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
        self.anchor_day, self.anchor_month = event.anchor_day, event.anchor_month
        self.paid_from = add_days(event.start, event.trial_days)
        self._add_trial(event.start, RENEWAL)

    @apply.register
    def _(self, event: fact.Imported) -> None:
        self.started_on = self.paid_from = event.start
        self.prices = {fact.BASE_ITEM: event.price}
        self.anchor_day, self.anchor_month = event.anchor_day, event.anchor_month
        self.paid_through = event.paid_through
        self.period = Period(event.start, event.paid_through)

    @apply.register
    def _(self, event: fact.PriceChanged) -> None:
        self.scheduled_prices = [scheduled for scheduled in self.scheduled_prices if scheduled.only_from]
        if self.paid_through is None:
            self._change_in_trial(event)
        elif event.price.interval == self.price.interval:
            self.prices[fact.BASE_ITEM] = event.price
            for line, tail in self.paid.credit_from(event.effective, event, fact.BASE_ITEM):
                full = Period(tail.start, add_days(tail.start, line.full_days))
                self.paid.add_charge(self._charge_line(fact.BASE_ITEM, tail, full, event.on, event.ref))
        else:
            self.paid.credit_from(event.effective, event)
            self.prices[fact.BASE_ITEM] = event.price
            self.grid, self.anchor_day, self.anchor_month = None, event.anchor_day, None
            self.paid_through, self.next_period_cause = event.effective, event.ref
        self._forget_migrations(fact.BASE_ITEM)

    def _change_in_trial(self, event: fact.PriceChanged) -> None:
        """Change the price during the trial.

        The new plan's trial counts from the original start but cannot end in the past. Add-ons follow the new end.
        """
        self.prices[fact.BASE_ITEM] = event.price
        self.anchor_day = event.anchor_day or (self.anchor_day if event.price.interval.months else None)
        self.anchor_month = self.anchor_month if event.price.interval.is_whole_years else None
        if self.trial_end:
            trial_end = add_days(self.started_on, event.price.trial_days)
            former_end, self.paid_from = self.paid_from, max(event.effective, trial_end)
            self._add_trial(event.effective, event.ref)
            self.trial_end = self.paid_from
            self.next_period_cause = event.ref if self.paid_from == event.effective else None
            self.paid.credit_from(self.paid_from, event)
            for item in [item for item in self.prices if item != fact.BASE_ITEM and former_end < self.paid_from]:
                self._charge_addon(item, former_end, event)

    @apply.register
    def _(self, event: fact.PriceScheduled) -> None:
        if event.only_from is None:
            self.scheduled_prices = [scheduled for scheduled in self.scheduled_prices if scheduled.only_from]
            self.scheduled_prices += [event] if event.price else []
            pending = self.pending_migrations
            self.scheduled_prices = [e for e in self.scheduled_prices if e is event or e in pending]
        elif event.price and not self._is_superseded(event):
            self.scheduled_prices.append(event)

    @apply.register
    def _(self, event: fact.AnchorMoved) -> None:
        """Move the anchor. Paid days stay paid; a bridge to the new day is billed when they end."""
        if not self.pending_anchor_moves:
            self._former_anchor = self.anchor_day, self.anchor_month
        self.anchor_day, self.anchor_month = event.day, event.month
        self.pending_anchor_moves.append(event.ref)
        if self.paid_through:
            self.grid = self._grid_from(self.paid_through)

    @apply.register
    def _(self, event: fact.Paused) -> None:
        self.paused_on = event.on

    @apply.register
    def _(self, event: fact.Resumed) -> None:
        self._end_pause(event.on)

    def _end_pause(self, day: date) -> None:
        """Move the end of the paid days by the days of the pause. A bridge to a moved anchor still applies."""
        since, self.paused_on = self.paused_on, None
        assert since is not None, "only a paused subscription is resumed"
        frozen_days = (day - since).days
        if not frozen_days:
            return
        self.paid.freeze(since, day)
        if self.paid_through is None:
            self.paid_from = add_days(self.paid_from, frozen_days)
            self.trial_end = self.trial_end and self.paid_from
            self.period = self.period and Period(self.period.start, self.paid_from)
            return
        assert self.period is not None, "paid days belong to a period"
        self.paid_through = add_days(self.paid_through, frozen_days)
        self.period = Period(self.period.start, self.paid_through)
        if not self.pending_anchor_moves:
            self.anchor_day = self.paid_through.day if self.price.interval.months else None
            self.anchor_month = self.paid_through.month if self.anchor_month else None
        self.grid = self._grid_from(self.paid_through)

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
        grid = self.grid or self._grid_from(end)
        if end > start:
            self.paid.add_charge(
                self._charge_line(item, Period(start, end), grid.period_containing(start), event.on, event.ref)
            )

    @apply.register
    def _(self, event: fact.AddonRemoved) -> None:
        self.paid.credit_from(event.effective, event, event.item)
        del self.prices[event.item]
        self._forget_migrations(event.item)
