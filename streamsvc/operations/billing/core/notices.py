"""Billing mail to customers, enqueued in the same transaction as its cause."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod, Plan, Price, Subscription
from streamsvc.operations.outbox.mail import enqueue_mail
from streamsvc.rules.billing.addons import Addon
from streamsvc.rules.billing.calendar import Interval, add_days
from streamsvc.rules.billing.facts import BASE_ITEM
from streamsvc.rules.billing.lines import replay_timeline
from streamsvc.rules.billing.paid import Line
from streamsvc.rules.billing.price_migrations import PriceStep
from streamsvc.rules.billing.timeline import Timeline
from streamsvc.rules.money import format_decimal
from streamsvc.storage.database import db

TRIAL_NOTICE_DAYS = 3
RENEWAL_NOTICE_DAYS = 7
LONG_INTERVAL = Interval("month", 6)
"""Renewals are announced for intervals of this length or longer; in days, for more than 180."""


def format_amount(amount_minor: int, currency: str) -> str:
    """Format an amount in minor units as a decimal with its currency code."""
    return f"{format_decimal(amount_minor, currency)} {currency}"


def plan_name(subscription: Subscription) -> str:
    """Return the name of the subscription's plan."""
    return db.session.get_one(Plan, subscription.plan_id).name


def next_reminder(aggregate: Any, timeline: Timeline) -> tuple[date, date] | None:
    """Return (the day to send the reminder, the billing day it announces); None if there is none to send.

    A reminder is sent once, before a trial ends and before a long period renews (see LONG_INTERVAL).
    """
    subscription = aggregate.subscription
    bill_date = timeline.next_bill_on
    if bill_date is None or subscription.reminded_of == bill_date:
        return None
    if timeline.paid_through is None:
        days = TRIAL_NOTICE_DAYS if timeline.trial_end else 0
    else:
        interval = timeline.price.interval
        days = RENEWAL_NOTICE_DAYS if interval.months >= LONG_INTERVAL.months or interval.days > 180 else 0
    return (max(add_days(bill_date, -days), aggregate.today), bill_date) if days else None


def next_addon_reminder(aggregate: Any, timeline: Timeline) -> date | None:
    """Return the day of the next reminder before an add-on's own trial ends; None if there is none to send."""
    days = [addon.charged_from for addon in _list_unreminded_addons(aggregate, timeline) if addon.charged_from]
    return max(add_days(min(days), -TRIAL_NOTICE_DAYS), aggregate.today) if days else None


def _list_unreminded_addons(aggregate: Any, timeline: Timeline) -> list[Addon]:
    """List the add-ons in a trial of their own that will be charged for when it ends, without those reminded of it."""
    if aggregate.subscription.status == "incomplete" or timeline.paused_on or timeline.ended_on:
        return []
    reminded, unreminded = aggregate.subscription.reminded_addons, []
    for addon in timeline.billed_addons:
        trial_end, ends = addon.charged_from, [timeline.addon_end(addon), timeline.ends_on]
        if trial_end and reminded.get(addon.item) != trial_end.isoformat():
            unreminded += [addon] if all(day is None or day > trial_end for day in ends) else []
    return unreminded


def enqueue_due_reminders(aggregate: Any) -> None:
    """Enqueue the reminders whose day has come: of the plan's trial or renewal, and of the add-ons' trials."""
    _enqueue_plan_reminder(aggregate)
    for addon in _list_unreminded_addons(aggregate, aggregate.timeline):
        assert addon.charged_from is not None, "it is in a trial"
        if add_days(addon.charged_from, -TRIAL_NOTICE_DAYS) <= aggregate.today:
            _enqueue_addon_reminder(aggregate, addon.item, addon.charged_from)


def _enqueue_addon_reminder(aggregate: Any, item: str, day: date) -> None:
    """Enqueue the reminder of the end of an add-on's trial; no mail if nothing is charged then."""
    subscription = aggregate.subscription
    subscription.reminded_addons = {**subscription.reminded_addons, item: day.isoformat()}
    charge = _find_charge(aggregate, item, day)
    if charge and charge.amount_minor:
        enqueue_mail(
            "addon_trial_ending",
            aggregate.account.email,
            aggregate.now,
            amount=format_amount(charge.amount_minor, subscription.currency),
            plan=db.session.get_one(Price, charge.price_id).plan.name,
            day=day.isoformat(),
        )


def _enqueue_plan_reminder(aggregate: Any) -> None:
    reminder = next_reminder(aggregate, aggregate.timeline)
    if reminder is None or reminder[0] > aggregate.today:
        return
    aggregate.subscription.reminded_of = reminder[1]
    kind = "trial_ending" if aggregate.timeline.paid_through is None else "renewal_ahead"
    renewal = _find_charge(aggregate, BASE_ITEM, reminder[1])
    assert renewal is not None, "the plan is charged on the day of its renewal"
    enqueue_mail(
        kind,
        aggregate.account.email,
        aggregate.now,
        amount=format_amount(renewal.amount_minor, aggregate.subscription.currency),
        plan=db.session.get_one(Price, renewal.price_id).plan.name,
        day=reminder[1].isoformat(),
    )


def _find_charge(aggregate: Any, item: str, day: date) -> Line | None:
    """Return the last charge for an item up to that day: at the price scheduled for it, or for a bridge."""
    lines = replay_timeline(aggregate.facts, day).lines
    return next((line for line in reversed(lines) if (line.kind, line.item) == ("charge", item)), None)


def enqueue_receipt(payment: Payment, invoice: Invoice, aggregate: Any) -> None:
    """Enqueue the receipt for a successful payment. `aggregate` is None for an invoice without a subscription."""
    plan = plan_name(aggregate.subscription) if aggregate else None
    amount = format_amount(payment.amount_minor, payment.currency)
    assert payment.settled_at is not None, "a successful payment is settled"
    enqueue_mail(
        "receipt", invoice.customer["email"], payment.settled_at, number=invoice.number, amount=amount, plan=plan
    )


def enqueue_payment_failed_notice(
    account: Account, invoices: list[Invoice], subscription: Subscription | None, suspends_on: date, now: datetime
) -> None:
    """Enqueue the notice that payments have failed: one for all overdue invoices of the account.

    `suspends_on`: the first day without access for its live subscription.
    """
    next_try = min((day for invoice in invoices if (day := invoice.next_attempt_on)), default=None)
    access_until = (suspends_on - timedelta(days=1)).isoformat() if subscription else None
    enqueue_mail(
        "payment_failed",
        account.email,
        now,
        **overdue_context(invoices, subscription),
        next_try=next_try and next_try.isoformat(),
        access_until=access_until,
    )


def enqueue_payment_overdue_notice(
    account: Account, invoices: list[Invoice], subscription: Subscription | None, cancels_on: date, now: datetime
) -> None:
    """Enqueue the last notice of overdue invoices: access has ended, and new subscriptions are refused."""
    context = overdue_context(invoices, subscription)
    enqueue_mail("payment_overdue", account.email, now, **context, cancels_on=cancels_on.isoformat())


def overdue_context(invoices: list[Invoice], subscription: Subscription | None) -> dict:
    """Return what a notice says of the overdue invoices: their total in each currency, their numbers, and the plan."""
    totals: dict[str, int] = {}
    for invoice in invoices:
        totals[invoice.currency] = totals.get(invoice.currency, 0) + invoice.balance_minor
    return {
        "amount": " and ".join(format_amount(amount_minor, currency) for currency, amount_minor in totals.items()),
        "numbers": [invoice.number for invoice in invoices],
        "plan": plan_name(subscription) if subscription else None,
    }


def enqueue_card_expiring_notice(
    method: PaymentMethod, account: Account, subscription: Subscription, now: datetime
) -> None:
    """Enqueue a notice that the card which pays for the subscription is about to expire."""
    card = f"{(method.brand or method.kind).title()} card" + (f" ending in {method.last4}" if method.last4 else "")
    month = f"{method.exp_year}-{method.exp_month:02}"
    enqueue_mail("card_expiring", account.email, now, card=card, month=month, plan=plan_name(subscription))


def enqueue_ended_notice(aggregate: Any, reason: str | None) -> None:
    """Enqueue a notice that the subscription has ended, saying whether it was for lack of payment."""
    unpaid = reason in ("payment_failed", "trial_without_payment_method")
    enqueue_mail(
        "subscription_ended",
        aggregate.account.email,
        aggregate.now,
        plan=plan_name(aggregate.subscription),
        unpaid=unpaid,
    )


def enqueue_transfer_notices(aggregate: Any, new_owner: Account) -> None:
    """Enqueue notices of a transfer to the previous and the new owner."""
    plan, day = plan_name(aggregate.subscription), aggregate.timeline.paid_through or aggregate.timeline.paid_from
    enqueue_mail("subscription_transferred", aggregate.account.email, aggregate.now, plan=plan)
    enqueue_mail("subscription_received", new_owner.email, aggregate.now, plan=plan, day=day.isoformat())


def enqueue_price_change_notice(aggregate: Any, steps: Sequence[PriceStep], corrects: bool) -> None:
    """Enqueue one notice of all coming changes of prices; each applies at the first renewal on or after its day.

    `corrects`: the notice replaces an earlier one.
    """
    changes = [_describe_price_step(step, aggregate.subscription.currency) for step in steps]
    kind = "price_change_corrected" if corrects else "price_change"
    enqueue_mail(kind, aggregate.account.email, aggregate.now, **changes[0], later=changes[1:])


def _describe_price_step(step: PriceStep, currency: str) -> dict[str, str]:
    plan = db.session.get_one(Price, step.price.id).plan
    return {
        "plan": " ".join(plan.name.split()),
        "day": step.scheduled.not_before.isoformat(),
        "amount": format_amount(step.price.amount_minor, currency),
        "old_amount": format_amount(step.old_price.amount_minor, currency),
    }


def enqueue_price_change_withdrawn_notice(aggregate: Any, item: str, day: str) -> None:
    """Enqueue a notice that the change announced for the price of `item` from `day` on will not happen."""
    price = aggregate.timeline.prices.get(item, aggregate.timeline.price)
    old_price = db.session.get_one(Price, price.id)
    enqueue_mail(
        "price_change_withdrawn",
        aggregate.account.email,
        aggregate.now,
        plan=old_price.plan.name,
        day=day,
        old_amount=format_amount(old_price.amount_minor, old_price.currency),
    )
