"""Checks of the billing rules: the books may agree with one another and still break a rule.

Each check is one statement, and yields the rows that break its rule. None of them causes a billing hold: to stop the
billing of such a subscription would correct nothing.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.models.subscriptions import Invoice, LedgerEntry, Payment, Subscription
from streamsvc.models.subscriptions.payments import IN_FLIGHT_STATUSES
from streamsvc.operations.billing.books.checks import Difference
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.storage.database import fetch_all

LATE_AFTER = timedelta(days=2)
"""How long a step may be overdue: jobs are retried for a while."""


def check_rules(now: datetime) -> Iterator[Difference]:
    """Run all rule checks, for all accounts."""
    yield from check_overdue_subscriptions()
    yield from check_next_steps(now)
    yield from check_returned_money()


def check_overdue_subscriptions() -> Iterator[Difference]:
    """Check that a subscription past due has an invoice that is overdue."""
    overdue = sa.exists().where(
        Invoice.subscription_id == Subscription.id,
        Invoice.status == "open",
        Invoice.balance_minor > 0,
        Invoice.first_failed_on.is_not(None),
    )
    rows = sa.select(Subscription.id, Subscription.past_due_since, Subscription.account_id)
    statement = rows.where(Subscription.status.in_(LIVE_STATUSES), Subscription.past_due_since.is_not(None), ~overdue)
    for subscription_id, since, account_id in fetch_all(statement):
        yield Difference("a subscription past due owes something", subscription_id, None, since, account_id)


def check_next_steps(now: datetime) -> Iterator[Difference]:
    """Check that whoever owes something will be asked for it, or has it written off.

    The next step of an open invoice is a payment in flight, an attempt on a day to come or, for a live subscription,
    the end of its dunning.
    """
    in_flight = sa.exists().where(Payment.invoice_id == Invoice.id, Payment.status.in_(IN_FLIGHT_STATUSES))
    in_dunning = sa.exists().where(
        Subscription.id == Invoice.subscription_id,
        Subscription.status.in_(LIVE_STATUSES),
        Subscription.due_at > now - LATE_AFTER,
    )
    is_attempted = sa.and_(Invoice.next_attempt_on.is_not(None), Invoice.next_attempt_on > (now - LATE_AFTER).date())
    rows = sa.select(Invoice.id, Invoice.balance_minor, Invoice.account_id)
    statement = rows.where(Invoice.status == "open", ~is_attempted, ~in_flight, ~in_dunning)
    for invoice_id, balance_minor, account_id in fetch_all(statement):
        yield Difference("an open invoice has a next step", invoice_id, "a next step", balance_minor, account_id)


def check_returned_money() -> Iterator[Difference]:
    """Check that no account was credited more than it was charged, and no payment returned more than it brought."""
    charged = sa.func.sum(-LedgerEntry.amount_minor)
    sums = sa.select(LedgerEntry.account_id, charged).where(LedgerEntry.book.in_(("revenue", "tax")))
    by_currency = sums.group_by(LedgerEntry.account_id, LedgerEntry.currency)
    for account_id, charged_minor in fetch_all(by_currency.having(charged < 0)):
        yield Difference(
            "no account is credited more than it was charged", account_id, 0, int(charged_minor), account_id
        )
    returned = Payment.refunded_minor + Payment.disputed_minor
    payments = sa.select(Payment.id, Payment.amount_minor, returned, Payment.account_id)
    for row in fetch_all(payments.where(returned > Payment.amount_minor)):
        yield Difference("no payment returns more than it brought", *row)
