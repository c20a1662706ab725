"""Checks of the billing rules: the books may agree with one another and still break a rule.

Each check is a single pass over all accounts, or over one of them, and yields what breaks its rule. None of them
causes a billing hold: to stop the billing of such a subscription would correct nothing.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.gateways.payments import current_provider, has_known_minimum, minimum_charge_minor
from streamsvc.gateways.payments.interface import (
    DECLINED,
    REQUIRES_ACTION,
    SUCCEEDED,
    UNKNOWN,
    EventProvider,
    Outcome,
)
from streamsvc.models.subscriptions import Invoice, LedgerEntry, Payment, PaymentMethod, Subscription
from streamsvc.models.subscriptions.payments import IN_FLIGHT_STATUSES
from streamsvc.operations.billing.books import payout_checks
from streamsvc.operations.billing.books.checks import Difference, of_account
from streamsvc.operations.billing.core import debts
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.storage.database import fetch_all

JUST_NOW = timedelta(hours=1)
"""How long the job may take that reacts to a dispute or a refund."""
LATE_AFTER = timedelta(days=2)
"""How long a step may be overdue: jobs are retried for a while."""
PROVIDER_CHECKED_FOR = timedelta(days=30)
RESOLVED_AFTER = timedelta(minutes=10)
"""By then, the outcome of a payment was looked up many times."""
AT_PROVIDER = {
    "pending": UNKNOWN,
    "unknown": UNKNOWN,
    "requires_action": REQUIRES_ACTION,
    "succeeded": SUCCEEDED,
    "disputed": SUCCEEDED,
    "failed": DECLINED,
}
"""By a payment's status: the state that it has at the provider."""


def check_rules(now: datetime, account_id: str | None = None) -> Iterator[Difference]:
    """Run all rule checks for one account, or for all."""
    yield from check_overdue_subscriptions(account_id)
    yield from check_next_steps(now, account_id)
    yield from check_returned_money(account_id)
    yield from payout_checks.check_payout_totals(account_id)
    yield from payout_checks.check_money_paid_out(account_id)


def check_overdue_subscriptions(account_id: str | None = None) -> Iterator[Difference]:
    """Check that a subscription past due has an overdue invoice: of its account, or its own with a former account."""
    is_overdue = sa.and_(Invoice.status == "open", Invoice.balance_minor > 0, Invoice.first_failed_on.is_not(None))
    owes = (
        sa.exists().where(owner, is_overdue)
        for owner in (Invoice.account_id == Subscription.account_id, Invoice.subscription_id == Subscription.id)
    )
    rows = sa.select(Subscription.id, Subscription.past_due_since, Subscription.account_id)
    is_past_due = sa.and_(Subscription.status.in_(LIVE_STATUSES), Subscription.past_due_since.is_not(None))
    statement = rows.where(is_past_due, ~sa.or_(*owes))
    for subscription_id, since, owner_id in fetch_all(of_account(statement, Subscription.account_id, account_id)):
        yield Difference("a subscription past due owes something", subscription_id, None, since, owner_id)


def check_next_steps(now: datetime, account_id: str | None = None) -> Iterator[Difference]:
    """Check that whoever owes something will be asked for it, or has it written off.

    The next step of an open invoice is a payment in flight, its first attempt, one on a day to come, or the day on
    which the dunning case is closed. One too small to charge waits for the next payment of a live subscription, and one
    on billing hold for its operator. After a dispute or a refund, the next step is a job that is due at once.
    """
    in_flight = sa.exists().where(Payment.invoice_id == Invoice.id, Payment.status.in_(IN_FLIGHT_STATUSES))
    too_small = sa.exists().where(Payment.invoice_id == Invoice.id, Payment.decline_code == debts.AMOUNT_TOO_SMALL)
    live, own = sa.orm.aliased(Subscription), sa.orm.aliased(Subscription)
    is_live = live.status.in_(LIVE_STATUSES)
    columns = (Invoice.balance_minor, Invoice.currency, Invoice.issued_at, Invoice.first_failed_on)
    rows = sa.select(
        Invoice.id,
        Invoice.account_id,
        *columns,
        Invoice.next_attempt_on,
        sa.exists().where(live.account_id == Invoice.account_id, is_live).label("has_subscription"),
        sa.exists()
        .where(LedgerEntry.invoice_id == Invoice.id, LedgerEntry.at > now - JUST_NOW)
        .label("has_just_changed"),
        too_small.label("was_too_small"),
        own.billing_held_at.label("held_at"),
        sa.and_(own.status.in_(LIVE_STATUSES), own.account_id != Invoice.account_id).label("waits_for_other"),
    )
    statement = rows.outerjoin(own, own.id == Invoice.subscription_id)
    statement = statement.where(Invoice.status == sa.literal_column("'open'"), ~in_flight)
    for row in fetch_all(of_account(statement, Invoice.account_id, account_id)):
        if not _has_next_step(row, now):
            yield Difference(
                "an open invoice has a next step", row.id, "a next step", row.balance_minor, row.account_id
            )


def _has_next_step(invoice: sa.Row, now: datetime) -> bool:
    if invoice.issued_at is None:  # of a start or a change, which happens by a payment in flight or not at all
        return False
    if invoice.held_at or invoice.waits_for_other or invoice.has_just_changed:
        return True
    late, schedule = now - LATE_AFTER, debts.current_dunning_schedule()
    was_too_small = invoice.was_too_small and not has_known_minimum(invoice.currency)
    if was_too_small or invoice.balance_minor < minimum_charge_minor(invoice.currency):
        closed_from = late - timedelta(days=schedule.cancel_day)
        return bool(invoice.has_subscription) or invoice.issued_at > closed_from
    if invoice.next_attempt_on:
        return bool(invoice.next_attempt_on >= late.date())
    if invoice.first_failed_on:
        return schedule.cancels_on(invoice.first_failed_on) >= late.date()
    return bool(invoice.issued_at > late)


def check_returned_money(account_id: str | None = None) -> Iterator[Difference]:
    """Check that no customer was credited more than was charged, and that no payment returned more than it brought.

    Charges and credits are summed by subscription, which a transfer may move between accounts, or else by account.
    """
    charged, owner = (
        sa.func.sum(-LedgerEntry.amount_minor),
        sa.func.coalesce(Subscription.account_id, LedgerEntry.account_id),
    )
    sums = sa.select(Subscription.id, owner, charged).select_from(LedgerEntry)
    sums = sums.outerjoin(Invoice, Invoice.id == LedgerEntry.invoice_id)
    sums = sums.outerjoin(Subscription, Subscription.id == Invoice.subscription_id)
    sums = of_account(sums, owner, account_id).where(LedgerEntry.book.in_(("revenue", "tax")))
    sums = sums.group_by(Subscription.id, owner, LedgerEntry.currency).having(charged < 0)
    for subscription_id, owner_id, charged_minor in fetch_all(sums):
        subject = subscription_id or owner_id
        yield Difference("credits do not exceed charges", subject, 0, int(charged_minor), owner_id)
    returned = Payment.refunded_minor + Payment.disputed_minor
    payments = sa.select(Payment.id, Payment.amount_minor, returned, Payment.account_id)
    payments = of_account(payments, Payment.account_id, account_id)
    for row in fetch_all(payments.where(returned > Payment.amount_minor)):
        yield Difference("no payment returns more than it brought", *row)


def select_recent_payments(now: datetime) -> sa.Select:
    """Select the payments of the last 30 days that were sent to the configured provider."""
    rows: sa.Select = sa.select(
        Payment.id,
        Payment.account_id,
        Payment.status,
        Payment.amount_minor,
        Payment.provider_reference,
        PaymentMethod.reference.label("method"),
    ).join(PaymentMethod, PaymentMethod.id == Payment.payment_method_id)
    is_recent = Payment.created_at.between(now - PROVIDER_CHECKED_FOR, now - RESOLVED_AFTER)
    return rows.where(Payment.provider == current_provider().name, is_recent).order_by(Payment.id)


def check_payment_at_provider(payment: sa.Row) -> Iterator[Difference]:
    """Check that the provider has the payment in the state, and at the amount, that is stored here."""
    outcome = _find_at_provider(payment)
    if outcome and outcome.status == UNKNOWN:
        return  # the provider does not respond, or does not know yet
    expected, found = AT_PROVIDER[payment.status], outcome.status if outcome else None
    was_never_sent = outcome is None and payment.status == "failed"
    if found != expected and not was_never_sent:
        yield Difference("the provider has the payment's state", payment.id, expected, found, payment.account_id)
    elif outcome and found == SUCCEEDED and outcome.captured_minor not in (None, payment.amount_minor):
        amounts = payment.amount_minor, outcome.captured_minor
        yield Difference("the provider has the payment's amount", payment.id, *amounts, payment.account_id)


def _find_at_provider(payment: sa.Row) -> Outcome | None:
    provider = current_provider()
    if payment.provider_reference and isinstance(provider, EventProvider):
        return provider.retrieve_outcome(payment.provider_reference)
    return provider.search_outcome(payment.id, payment.method)
