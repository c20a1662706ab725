"""What customers hear about their money by mail; asked for in the transaction of what it tells of."""

from datetime import date, datetime, timedelta

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod, Plan, Price, Subscription
from streamsvc.operations.outbox.mail import enqueue_mail
from streamsvc.rules.billing.calendar import Interval, add_days
from streamsvc.rules.money import format_decimal
from streamsvc.storage.database import db

TRIAL_NOTICE_DAYS = 3
RENEWAL_NOTICE_DAYS = 7
LONG_INTERVAL = Interval("month", 6)
"""From this length on, a renewal is announced."""


def format_amount(amount_minor: int, currency: str) -> str:
    return f"{format_decimal(amount_minor, currency)} {currency}"


def plan_name(subscription: Subscription) -> str:
    return db.session.get(Plan, subscription.plan_id).name


def next_reminder(aggregate) -> tuple[date, date] | None:
    """(the day to send a reminder, the day it is of): before a trial ends, before a long period renews; once."""
    timeline, row = aggregate.timeline, aggregate.subscription
    ahead = timeline.next_bill_on
    if ahead is None or row.reminded_of == ahead:
        return None
    if timeline.paid_through is None:
        days = TRIAL_NOTICE_DAYS if timeline.trial_end else 0
    else:
        interval = timeline.price.interval
        days = RENEWAL_NOTICE_DAYS if interval.months >= LONG_INTERVAL.months or interval.days > 180 else 0
    return (max(add_days(ahead, -days), aggregate.today), ahead) if days else None


def enqueue_due_reminder(aggregate) -> None:
    """Send the reminder whose day has come."""
    found = next_reminder(aggregate)
    if found is None or found[0] > aggregate.today:
        return
    aggregate.subscription.reminded_of = found[1]
    kind = "trial_ending" if aggregate.timeline.paid_through is None else "renewal_ahead"
    price = aggregate.timeline.price
    facts = {"plan": plan_name(aggregate.subscription), "day": found[1].isoformat()}
    amount = format_amount(
        price.intro.amount_minor if price.intro else price.amount_minor, aggregate.subscription.currency
    )
    enqueue_mail(kind, aggregate.account.email, aggregate.now, amount=amount, **facts)


def enqueue_receipt(payment: Payment, invoice: Invoice, aggregate) -> None:
    plan = plan_name(aggregate.subscription) if aggregate else None
    amount = format_amount(payment.amount_minor, payment.currency)
    enqueue_mail(
        "receipt", invoice.customer["email"], payment.settled_at, number=invoice.number, amount=amount, plan=plan
    )


def enqueue_payment_failed_notice(invoice: Invoice, aggregate) -> None:
    """Only a renewal's first failure is told; the next tries are our own affair."""
    if aggregate is None or invoice.attempts != 1:
        return
    until = aggregate.dunning_schedule.suspends_on(invoice.first_failed_on) - timedelta(days=1)
    facts = {"next_try": invoice.next_attempt_on and invoice.next_attempt_on.isoformat()}
    amount = format_amount(invoice.balance_minor, invoice.currency)
    facts |= {"plan": plan_name(aggregate.subscription), "amount": amount, "access_until": until.isoformat()}
    enqueue_mail("payment_failed", aggregate.account.email, aggregate.now, **facts)


def enqueue_card_expiring_notice(
    method: PaymentMethod, account: Account, subscription: Subscription, now: datetime
) -> None:
    card = f"{(method.brand or method.kind).title()} card" + (f" ending in {method.last4}" if method.last4 else "")
    month = f"{method.exp_year}-{method.exp_month:02}"
    enqueue_mail("card_expiring", account.email, now, card=card, month=month, plan=plan_name(subscription))


def enqueue_ended_notice(aggregate, reason: str | None) -> None:
    unpaid = reason in ("payment_failed", "trial_without_payment_method")
    enqueue_mail(
        "subscription_ended",
        aggregate.account.email,
        aggregate.now,
        plan=plan_name(aggregate.subscription),
        unpaid=unpaid,
    )


def enqueue_transfer_notices(aggregate, new_owner) -> None:
    """To who had it, and to who has it now."""
    plan, day = plan_name(aggregate.subscription), aggregate.timeline.paid_through or aggregate.timeline.paid_from
    enqueue_mail("subscription_transferred", aggregate.account.email, aggregate.now, plan=plan)
    enqueue_mail("subscription_received", new_owner.email, aggregate.now, plan=plan, day=day.isoformat())


def enqueue_price_change_withdrawn_notice(aggregate, old_price: Price, day: date) -> None:
    facts = {"plan": plan_name(aggregate.subscription), "day": day.isoformat()}
    enqueue_mail(
        "price_change_withdrawn",
        aggregate.account.email,
        aggregate.now,
        **facts,
        old_amount=format_amount(old_price.amount_minor, old_price.currency),
    )


def enqueue_price_change_notice(aggregate, old_price: Price, new_price: Price, day: date) -> None:
    amounts = {
        "amount": format_amount(new_price.amount_minor, new_price.currency),
        "old_amount": format_amount(old_price.amount_minor, old_price.currency),
    }
    facts = {"plan": plan_name(aggregate.subscription), "day": day.isoformat()}
    enqueue_mail("price_change", aggregate.account.email, aggregate.now, **facts, **amounts)
