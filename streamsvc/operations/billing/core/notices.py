"""What customers hear about their money by mail; asked for in the transaction of what it tells of."""

from datetime import date, datetime, timedelta

from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod, Plan, Price, Subscription
from streamsvc.operations.outbox.mail import enqueue_mail
from streamsvc.rules.billing.calendar import Interval, add_days
from streamsvc.rules.money import decimal_text
from streamsvc.storage.database import db

TRIAL_NOTICE_DAYS = 3
RENEWAL_NOTICE_DAYS = 7
LONG = Interval("month", 6)
"""From this length on, a renewal is announced."""


def money(amount_minor: int, currency: str) -> str:
    return f"{decimal_text(amount_minor, currency)} {currency}"


def plan_name(row: Subscription) -> str:
    return db.session.get(Plan, row.plan_id).name


def reminder_on(at) -> tuple[date, date] | None:
    """(the day to send a reminder, the day it is of): before a trial ends, before a long period renews; once."""
    timeline, row = at.timeline, at.subscription
    ahead = timeline.next_bill_on
    if ahead is None or row.reminded_of == ahead:
        return None
    if timeline.paid_through is None:
        days = TRIAL_NOTICE_DAYS if timeline.trial_end else 0
    else:
        interval = timeline.price.interval
        days = RENEWAL_NOTICE_DAYS if interval.months >= LONG.months or interval.days > 180 else 0
    return (max(add_days(ahead, -days), at.today), ahead) if days else None


def remind(at) -> None:
    """Send the reminder whose day has come."""
    found = reminder_on(at)
    if found is None or found[0] > at.today:
        return
    at.subscription.reminded_of = found[1]
    kind = "trial_ending" if at.timeline.paid_through is None else "renewal_ahead"
    price = at.timeline.price
    facts = {"plan": plan_name(at.subscription), "day": found[1].isoformat()}
    amount = money(price.intro.amount_minor if price.intro else price.amount_minor, at.subscription.currency)
    enqueue_mail(kind, at.account.email, at.now, amount=amount, **facts)


def receipt(payment: Payment, invoice: Invoice, at) -> None:
    plan = plan_name(at.subscription) if at else None
    amount = money(payment.amount_minor, payment.currency)
    enqueue_mail(
        "receipt", invoice.customer["email"], payment.settled_at, number=invoice.number, amount=amount, plan=plan
    )


def payment_failed(invoice: Invoice, at) -> None:
    """Only a renewal's first failure is told; the next tries are our own affair."""
    if at is None or invoice.attempts != 1:
        return
    until = at.ladder.suspends_on(invoice.first_failed_on) - timedelta(days=1)
    facts = {"next_try": invoice.next_attempt_on and invoice.next_attempt_on.isoformat()}
    amount = money(invoice.balance_minor, invoice.currency)
    facts |= {"plan": plan_name(at.subscription), "amount": amount, "access_until": until.isoformat()}
    enqueue_mail("payment_failed", at.account.email, at.now, **facts)


def card_expiring(method: PaymentMethod, account: Account, row: Subscription, now: datetime) -> None:
    card = f"{(method.brand or method.kind).title()} card" + (f" ending in {method.last4}" if method.last4 else "")
    month = f"{method.exp_year}-{method.exp_month:02}"
    enqueue_mail("card_expiring", account.email, now, card=card, month=month, plan=plan_name(row))


def ended(at, reason: str | None) -> None:
    unpaid = reason in ("payment_failed", "trial_without_payment_method")
    enqueue_mail("subscription_ended", at.account.email, at.now, plan=plan_name(at.subscription), unpaid=unpaid)


def transferred(at, heir) -> None:
    """To who had it, and to who has it now."""
    plan, day = plan_name(at.subscription), at.timeline.paid_through or at.timeline.paid_from
    enqueue_mail("subscription_transferred", at.account.email, at.now, plan=plan)
    enqueue_mail("subscription_received", heir.email, at.now, plan=plan, day=day.isoformat())


def price_change_withdrawn(at, old: Price, day: date) -> None:
    facts = {"plan": plan_name(at.subscription), "day": day.isoformat()}
    enqueue_mail(
        "price_change_withdrawn", at.account.email, at.now, **facts, old_amount=money(old.amount_minor, old.currency)
    )


def price_change(at, old: Price, new: Price, day: date) -> None:
    amounts = {"amount": money(new.amount_minor, new.currency), "old_amount": money(old.amount_minor, old.currency)}
    facts = {"plan": plan_name(at.subscription), "day": day.isoformat()}
    enqueue_mail("price_change", at.account.email, at.now, **facts, **amounts)
