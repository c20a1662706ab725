"""The replay of a subscription's events: each starts, ends or moves paid time and adds its invoice lines."""

from dataclasses import replace
from datetime import date
from functools import singledispatchmethod

from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.addons import Addon, EndingUnits
from streamsvc.rules.billing.calendar import Period, add_days
from streamsvc.rules.billing.imported import ImportedTime
from streamsvc.rules.billing.paid import RENEWAL, Line
from streamsvc.rules.billing.pauses import Pause
from streamsvc.rules.billing.state import SubscriptionState


class Timeline(SubscriptionState):
    """A replay: advance it with `apply` and `bill_until`, then read `lines`, `period` and others."""

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
        if event.counts_as_paid:
            self._imported = ImportedTime(event.price, self._grid_from(event.paid_through), event.paid_through)

    @apply.register
    def _(self, event: fact.Gifted) -> None:
        self.started_on = self.paid_from = event.start
        self.prices = {fact.BASE_ITEM: event.price}
        self.anchor_day = event.start.day if event.price.interval.months else None
        self.paid_through, self.has_gifts = event.paid_through, True
        self.period = Period(event.start, event.paid_through)

    @apply.register
    def _(self, event: fact.GiftAdded) -> None:
        """Extend the paid days, whose end keeps its place in the interval."""
        assert self.period is not None, "paid days belong to a period"
        self.paid_through, self.has_gifts = event.paid_through, True
        self.period = Period(self.period.start, event.paid_through)

    @apply.register
    def _(self, event: fact.PriceChanged) -> None:
        self.scheduled_prices = [scheduled for scheduled in self.scheduled_prices if scheduled.only_from]
        for item in [item for item in event.includes if item in self.prices]:
            first_unused = max(event.effective, event.removed_addons_from or event.effective)
            self.paid.credit_from(first_unused, event, item)
            self.ending_units.append(EndingUnits(item, self.addons[item].quantity, first_unused))
            self._include_addon(item)
        if self.paid_through is None:
            self._change_in_trial(event)
        elif event.price.interval == self.price.interval:
            self.prices[fact.BASE_ITEM] = event.price
            for line, tail in self.paid.credit_from(event.effective, event, fact.BASE_ITEM):
                full = Period(tail.start, add_days(tail.start, line.full_days))
                self.paid.add_charge(self._charge_line(fact.BASE_ITEM, tail, full, event.on, event.ref))
            self._charge_imported_days(event)
            if event.anchor_day:
                self._move_anchor(event.anchor_day, None, event)
        else:
            self._close_period(event.effective, event)
            self.prices[fact.BASE_ITEM] = event.price
            self.grid, self.anchor_day, self.anchor_month = None, event.anchor_day, None
            self.paid_through, self.next_period_cause = event.effective, event.ref
            self.bill_early_on = event.on  # a cheaper plan begins tomorrow and is billed now
        self._forget_migrations(fact.BASE_ITEM)

    def _charge_imported_days(self, event: fact.PriceChanged) -> None:
        """Charge what the new price costs more on the days that were paid elsewhere and not charged here yet."""
        if self._imported is None:
            return
        end = min(self._imported.end, self.paid_end)
        for period, _ in self.paid.missing_units(fact.BASE_ITEM, 1, event.effective, end):
            full = self._imported.grid.period_containing(period.start)
            self.paid.add_charge(self._charge_line(fact.BASE_ITEM, period, full, event.on, event.ref))

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
        self.anchor_month = self.anchor_month if event.price.interval.is_whole_years else None
        if self.trial_end:
            trial_end = add_days(self.started_on, event.price.trial_days)
            former_end, self.paid_from = self.paid_from, max(event.effective, trial_end)
            self._add_trial(event.effective, event.ref)
            self.trial_end = self.paid_from
            self.next_period_cause = event.ref if self.paid_from == event.effective else None
            self._close_period(self.paid_from, event)
            for addon in self.billed_addons if former_end < self.paid_from else ():
                self._charge_rest(addon, former_end, event)

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
        self._move_anchor(event.day, event.month, event)

    def _move_anchor(self, day: int, month: int | None, event: fact.AnchorMoved | fact.PriceChanged) -> None:
        """Move the anchor. Paid days stay paid; a bridge to the new day is billed when they end."""
        if not self.pending_anchor_moves:
            self._former_anchor = self.anchor_day, self.anchor_month
        self.anchor_day, self.anchor_month = day, month
        self.pending_anchor_moves.append(event.ref)
        self._bridges_late = event.bridges_late
        if self.paid_through:
            self.grid = self._grid_from(self.paid_through)

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
            if self._imported:
                self._imported.postpone(frozen_from, frozen_days)
            for addon in self.billed_addons:
                if addon.charged_from and addon.charged_from > frozen_from:
                    addon.trial_end = add_days(addon.charged_from, frozen_days)
        for addon in self.billed_addons:
            if (
                addon.charged_from and addon.charged_from <= day
            ):  # its first charge does not share the resumption's fate
                addon.trial_end = add_days(day, 1)
        self._postpone_next_period(frozen_days or max(0, (day - paid_until).days), day)

    def _postpone_next_period(self, days: int, day: date) -> None:
        """Move the end of the paid days, or of the trial, by some days, as of the day on which a pause ends."""
        if not days:
            return
        if self.paid_through is None:
            self.paid_from = add_days(self.paid_from, days)
            self.trial_end = self.trial_end and self.paid_from
            self.period = self.period and Period(self.period.start, self.paid_from)
            return
        assert self.period is not None, "paid days belong to a period"
        self.paid_through = add_days(self.paid_through, days)
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
        self.paid.credit_gap(event.start, min(event.end, self.frozen_from or event.end), event)

    @apply.register
    def _(self, event: fact.AddonAdded) -> None:
        start = max(event.on, self.started_on)
        addon = Addon(event.item, event.price, event.ref, quantity=event.quantity, ends_on=event.ends_on)
        self.prices[event.item], self.addons[event.item] = event.price, addon
        if event.trial_days:
            addon.trial_end, addon.is_trial_over = add_days(start, event.trial_days), False
            period = Period(start, addon.trial_end)
            line = Line("trial", event.item, event.price.id, period, start, 0, period.days, event.ref)
            self.lines.append(replace(line, quantity=event.quantity))
        self._charge_rest(addon, start, event)

    @apply.register
    def _(self, event: fact.AddonQuantityChanged) -> None:
        addon = self.addons[event.item]
        former, addon.quantity = addon.quantity, event.quantity
        if event.quantity < former:
            self.ending_units.append(EndingUnits(event.item, former, event.effective))
            self.paid.credit_surplus(event.item, event.quantity, event.effective, event)
        else:
            self._charge_rest(addon, event.effective, event)

    @apply.register
    def _(self, event: fact.AddonEndSet) -> None:
        """Set the end. Paid days beyond it are credited when it comes; days before it that are not paid are charged."""
        addon = self.addons[event.item]
        addon.ends_on = event.ends_on
        self._charge_rest(addon, event.on, event)

    @apply.register
    def _(self, event: fact.AddonRemovalScheduled) -> None:
        self.addons[event.item].is_removal_scheduled = True

    @apply.register
    def _(self, event: fact.AddonRemovalDropped) -> None:
        addon = self.addons[event.item]
        addon.is_removal_scheduled = False
        self._charge_rest(addon, event.on, event)

    @apply.register
    def _(self, event: fact.AddonRemoved) -> None:
        self.paid.credit_from(event.effective, event, event.item)
        self._drop_addon(event.item, event.effective)
        self._forget_migrations(event.item)

    def _drop_addon(self, item: str, effective: date) -> None:
        """Stop billing an add-on; the units in use count up to the day `effective`."""
        self.prices.pop(item, None)
        if (addon := self.addons.get(item)) and addon.removed_on is None:
            addon.removed_on = effective
            self.ending_units.append(EndingUnits(item, addon.quantity, effective))
        if self.period:
            self._forget_ended_addons(self.period.start)

    def _charge_rest(self, addon: Addon, start: date, event: fact.Event) -> None:
        """Charge the unpaid units of an add-on from `start`, or the end of its trial, to the end of the period."""
        if addon.charged_from is None:
            self._charge_missing_units(addon, start, max(event.on, self.started_on), event.ref)
