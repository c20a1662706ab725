"""Billing mail to customers, enqueued in the same transaction as its cause."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod, Plan, Price, Subscription
from streamsvc.operations.outbox.mail import enqueue_mail
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


def enqueue_due_reminder(aggregate: Any) -> None:
    """Enqueue the next reminder if its day has come."""
    reminder = next_reminder(aggregate, aggregate.timeline)
    if reminder is None or reminder[0] > aggregate.today:
        return
    aggregate.subscription.reminded_of = reminder[1]
    kind = "trial_ending" if aggregate.timeline.paid_through is None else "renewal_ahead"
    renewal = _find_renewal_line(aggregate, reminder[1])
    enqueue_mail(
        kind,
        aggregate.account.email,
        aggregate.now,
        amount=format_amount(renewal.amount_minor, aggregate.subscription.currency),
        plan=db.session.get_one(Price, renewal.price_id).plan.name,
        day=reminder[1].isoformat(),
    )


def _find_renewal_line(aggregate: Any, day: date) -> Line:
    """Return the charge for the base plan on that day: at the price scheduled for it, or for a bridge."""
    lines = replay_timeline(aggregate.facts, day).lines
    return next(line for line in reversed(lines) if (line.kind, line.item) == ("charge", BASE_ITEM))


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
