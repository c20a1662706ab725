"""The state of a subscription as of a day: its prices, add-ons and paid time, and what falls due by then."""

from collections.abc import Mapping
from datetime import date

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.addons import Addon, EndingUnits
from streamsvc.rules.billing.calendar import Grid, Period
from streamsvc.rules.billing.imported import ImportedTime
from streamsvc.rules.billing.paid import RENEWAL, Line, PaidTime
from streamsvc.rules.billing.pauses import Pause
from streamsvc.rules.billing.price_migrations import MigrationPath, PriceStep, close_over
from streamsvc.rules.money import round_half_up


class SubscriptionState:
    """The state of a subscription. `bill_until` charges the periods that fall due; `Timeline` applies the events."""

    started_on: date
    paid_from: date
    """The first day, and the first after the trial: unset before the first event, which is Started or Imported."""

    def __init__(self, booked: Mapping[str, fact.BookedLine]):
        self.paid = PaidTime(booked)
        self.prices: dict[str, fact.PriceTerms] = {}
        self.addons: dict[str, Addon] = {}
        """By item: the add-ons, and those that were removed since the current period began."""
        self.ending_units: list[EndingUnits] = []
        self.included_addons: list[tuple[str, date]] = []
        """Add-ons that a scheduled price contained when it took effect, and that day."""
        self.paid_through: date | None = None
        self.trial_end: date | None = None
        self.period: Period | None = None
        self.grid: Grid | None = None
        self.anchor_day: int | None = None
        self.anchor_month: int | None = None
        self.pending_anchor_moves: list[str] = []  # the refs of the moves whose bridge is not billed yet
        self._former_anchor: tuple[int | None, int | None] = (None, None)  # the day and month before those moves
        self._bridges_late = True
        self.scheduled_prices: list[fact.PriceScheduled] = []
        self.price_steps: list[PriceStep] = []  # by which migrations changed the prices, oldest first
        self._migration_paths: dict[str, MigrationPath] = {}
        self.bill_early_on: date | None = None  # the day on which the next period is billed before it starts
        self.next_period_cause: str | None = None  # the ref of the change that starts the next billed period
        self.paused_on: date | None = None
        self.frozen_from: date | None = None  # the first day that the current pause freezes
        self.pauses: list[Pause] = []  # those that are over, oldest first
        self.ended_on: date | None = None
        self.end_scheduled: fact.EndScheduled | None = None
        self.has_gifts = False
        self._imported: ImportedTime | None = None
        self.introductory_lines: set[str] = set()
        """The identities of the charges at an introductory price."""
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
    def paid_end(self) -> date:
        """Return the first day that is neither paid nor in the trial."""
        return self.paid_through or self.paid_from

    def has_gifted_days(self, day: date) -> bool:
        """Return whether a gift pays for a day from `day` on: one that is paid, but not by a charge."""
        return self.has_gifts and bool(self.paid.missing_units(fact.BASE_ITEM, 1, day, self.paid_end))

    @property
    def next_due_on(self) -> date | None:
        """Return the civil day on which the next period or the first charge of an add-on after its trial is due."""
        days = [day for day in (self.next_bill_on, self._next_trial_end()) if day]
        return min(days, default=None)

    def _next_trial_end(self) -> date | None:
        """Return the day on which an add-on's trial ends within the current period; None if none does."""
        if not self.prices or self.ended_on or self.paused_on:
            return None
        last = min(self.paid_end, self.ends_on or self.paid_end)
        trial_ends = [addon.charged_from for addon in self.billed_addons if addon.charged_from]
        return min((day for day in trial_ends if day < last), default=None)

    @property
    def billed_addons(self) -> list[Addon]:
        """Return the add-ons that are items of their own."""
        return [addon for addon in self.addons.values() if addon.removed_on is None]

    def addon_end(self, addon: Addon) -> date | None:
        """Return the first day without the add-on, as far as that is known."""
        return addon.last_day_after(self.paid_end)

    @property
    def next_bill_on(self) -> date | None:
        """Return the civil day on which the next period is due; None if none is."""
        if not self.prices or self.ended_on or self.paused_on:
            return None
        start = self.paid_through or self.paid_from
        return None if self.ends_on and start >= self.ends_on else self.bill_early_on or start

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
        while (due := self.next_due_on) and (due <= until or self._is_bridge_booked(due)):
            if due == self._next_trial_end():
                self._end_addon_trials(due, ended_from)
                continue
            lines = self._next_period(due)
            if ended_from and lines[0].period.start >= ended_from and lines[0].identity not in self.paid.booked:
                return
            for line in lines:
                self.paid.add_charge(line)
            self.period, self.paid_through = lines[0].period, lines[0].period.end
            self.bill_early_on = self.next_period_cause = None
            self.pending_anchor_moves = []
            self._forget_ended_addons(self.period.start)

    def _is_bridge_booked(self, start: date) -> bool:
        """Return whether the bridge that starts on that day is invoiced already: early, as was once the rule.

        A later replay finds a bridge booked that was billed when it began: that does not change what came before.
        """
        if not self.pending_anchor_moves or self.grid is None or self._bridges_late:
            return False
        period = Period(start, min(self.grid.period_containing(start).end, self.ends_on or date.max))
        line = Line("charge", fact.BASE_ITEM, self.price.id, period, start, 0, period.days, RENEWAL)
        return line.identity in self.paid.booked

    def _end_addon_trials(self, day: date, ended_from: date | None) -> None:
        """Charge the add-ons whose trial ends on the day up to the end of the current period."""
        for addon in [addon for addon in self.billed_addons if addon.charged_from == day]:
            self._end_trial(addon)
            if not (ended_from and day >= ended_from):
                self._charge_missing_units(addon, day, day, addon.added_by)

    def _end_trial(self, addon: Addon) -> None:
        """End an add-on's trial, and fix the end of one whose scheduled removal has come."""
        end, addon.is_trial_over = self.addon_end(addon), True
        if addon.is_removal_scheduled:
            addon.ends_on, addon.is_removal_scheduled = end, False

    def _forget_ended_addons(self, day: date) -> None:
        self.addons = {
            item: addon for item, addon in self.addons.items() if not (addon.removed_on and addon.removed_on <= day)
        }
        self.ending_units = [units for units in self.ending_units if units.until > day]

    def _next_period(self, due: date) -> list[Line]:
        """Return the charges of the next period, due on the day `due`."""
        start = self.paid_through or self.paid_from
        self._apply_scheduled_prices(start)
        if self.grid is None:
            self.grid = self._grid_from(start)
            self.anchor_day = self.grid.day if self.price.interval.months else None
        full = self.grid.period_containing(start)
        period = Period(start, min(full.end, self.ends_on or full.end))
        cause = self.next_period_cause or RENEWAL
        lines = [self._charge_line(fact.BASE_ITEM, period, full, due, cause)]
        for addon in self.billed_addons:
            if addon.charged_from is None or addon.charged_from <= start:
                self._end_trial(addon)
                end = min(period.end, addon.ends_on or period.end)
                if end > start:
                    lines.append(self._charge_line(addon.item, Period(start, end), full, due, cause, addon.quantity))
        return lines

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
                self._include_addons(event, start)
        is_first_charge = self.paid_through is None and self.trial_end is None  # at the price that was agreed
        if self.scheduled_prices and not is_first_charge:
            for item in list(self.prices):
                if item in self.prices:  # unless the new price of another item includes it
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
            if item in self.addons:
                self.addons[item].price = event.price
            else:  # only as a base plan does one include others
                self._include_addons(event, start)
        if path.applied:
            self._migration_paths[item] = path
            self.scheduled_prices = [
                event
                for event in self.scheduled_prices
                if event not in path.applied and not path.is_superseded(event, self.prices[item].id)
            ]
        if self.prices[item] != old_price:
            self.price_steps.append(PriceStep(item, old_price, self.prices[item], start, path.applied[-1]))

    def _include_addons(self, event: fact.PriceScheduled, start: date) -> None:
        """Stop billing the add-ons that the price of the event includes, from the day `start` on."""
        for item in [item for item in event.includes if item in self.prices]:
            self.included_addons.append((item, start))
            self._include_addon(item)

    def _forget_migrations(self, item: str) -> None:
        """Drop the record of migrations of an item whose price was chosen again, and those that can no longer apply."""
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

    def _charge_line(
        self,
        item: str,
        period: Period,
        full: Period,
        bill_on: date,
        cause: str,
        quantity: int = 1,
        units_of: str | None = None,
    ) -> Line:
        """Return the charge for `period`, prorated by its share of the days of the `full` period."""
        price = self._charged_prices[self.prices[item].id] = self.prices[item]
        is_introductory = self._is_introductory(item, price, full.start)
        base = (price.intro.amount_minor if is_introductory and price.intro else price.amount_minor) * quantity
        amount = round_half_up(base * period.days, full.days)
        if self._imported and item == fact.BASE_ITEM:
            amount = max(0, amount - self._imported.paid_minor(period))
        line = Line(
            "charge", item, price.id, period, bill_on, amount, full.days, cause, quantity=quantity, units_of=units_of
        )
        if is_introductory:
            self.introductory_lines.add(line.identity)
        return line

    def _is_introductory(self, item: str, price: fact.PriceTerms, period_start: date) -> bool:
        if price.intro is None:
            return False
        seen = self._intro_periods.setdefault((item, price.id), [])
        if period_start not in seen:
            seen.append(period_start)
        is_withdrawn = price.intro.until is not None and period_start >= price.intro.until
        return seen.index(period_start) < price.intro.periods and not is_withdrawn

    def _add_trial(self, start: date, cause: str) -> None:
        if self.paid_from > start:
            period = Period(start, self.paid_from)
            self.lines.append(Line("trial", fact.BASE_ITEM, self.price.id, period, start, 0, period.days, cause))
            self.trial_end = self.paid_from
            self.period = Period(self.started_on, self.paid_from)

    def _include_addon(self, item: str) -> None:
        """Stop billing an add-on that the plan includes from now on."""
        del self.prices[item], self.addons[item]

    def _charge_missing_units(self, addon: Addon, start: date, bill_on: date, cause: str) -> None:
        """Charge the unpaid units from `start` to the end of the base plan's current period, on its grid."""
        grid = self.grid or self._grid_from(self.paid_end)
        last = min(self.paid_end, addon.ends_on or self.paid_end)
        for period, units in self.paid.missing_units(addon.item, addon.quantity, start, last):
            full, units_of = grid.period_containing(period.start), cause if units < addon.quantity else None
            self.paid.add_charge(self._charge_line(addon.item, period, full, bill_on, cause, units, units_of))
