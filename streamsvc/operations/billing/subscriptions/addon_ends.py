"""Ends of add-ons that come with time: their end date, a scheduled removal, a trial that nobody pays for."""

from datetime import date

from streamsvc.operations.billing.core import method_selection
from streamsvc.operations.billing.core.aggregate import SubscriptionAggregate
from streamsvc.rules.billing import facts as fact
from streamsvc.rules.billing.addons import Addon
from streamsvc.rules.billing.calendar import add_days
from streamsvc.rules.billing.lines import lines_due


def remove_ended_addons(aggregate: SubscriptionAggregate) -> None:
    """Remove the add-ons whose end has come, with credit for paid days beyond it, and those that the plan includes.

    An end during a pause credits the frozen days too.
    """
    timeline = aggregate.timeline
    for item, day in timeline.included_addons:
        if not _is_removal_recorded(aggregate, item, day):
            aggregate.record_event(fact.AddonRemoved, item, day)
    for addon in timeline.billed_addons:
        end = timeline.addon_end(addon)
        if end and end <= aggregate.today:
            aggregate.record_event(fact.AddonRemoved, addon.item, min(end, timeline.frozen_from or end))


def _is_removal_recorded(aggregate: SubscriptionAggregate, item: str, day: date) -> bool:
    removals = [event for event in aggregate.facts.events if isinstance(event, fact.AddonRemoved)]
    return any((event.item, event.effective) == (item, day) for event in removals)


def remove_unpaid_addon_trials(aggregate: SubscriptionAggregate) -> None:
    """Remove the add-ons whose trial has ended while there is no payment method to charge for them."""
    if method_selection.select_account_method(aggregate.account.id, aggregate.subscription.payment_method_id):
        return
    for addon in aggregate.timeline.billed_addons:
        if addon.trial_end and addon.is_trial_over and _is_first_charge_unpaid(aggregate, addon):
            last_day = add_days(addon.trial_end, -1)
            aggregate.record_event(fact.AddonRemoved, addon.item, addon.trial_end, on=last_day)


def _is_first_charge_unpaid(aggregate: SubscriptionAggregate, addon: Addon) -> bool:
    """Return whether the charge after the add-on's trial is due, not yet invoiced, and more than the account credit."""
    charges = [line for line in aggregate.timeline.lines if (line.item, line.kind) == (addon.item, "charge")]
    due = {line.identity for line in lines_due(aggregate.facts, aggregate.today, aggregate.timeline)}
    is_due = all(line.identity in due for line in charges)
    return is_due and aggregate.compute_invoice(charges).totals.amount_due_minor > 0
