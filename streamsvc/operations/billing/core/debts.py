"""Debts of an account: what it owes, since when, what happens next, and the notices about it.

The rules are in rules/billing/debts.py. `operations/billing/subscriptions/collection.py` takes the steps.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime
from functools import cache

import sqlalchemy as sa

from streamsvc.gateways.payments import has_known_minimum, minimum_charge_minor
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, LedgerEntry, Subscription
from streamsvc.operations.billing.core import ledger
from streamsvc.rules.billing import debts as rules
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.rules.billing.calendar import civil_day, start_of_day
from streamsvc.rules.billing.debts import BLOCKING_STAGES, Debt
from streamsvc.rules.billing.dunning import DunningSchedule
from streamsvc.rules.refusals.billing import PaymentOverdue
from streamsvc.settings import current_settings
from streamsvc.storage.database import db
from streamsvc.worker import jobs

DUE_JOB = "subscription.due"
COLLECT_JOB = "invoice.collect"
AMOUNT_TOO_SMALL = "amount_too_small"
"""The decline code of an amount below the provider's minimum, which is carried over like those known to be."""
NOTICE_JOB = "dunning.notice"
FIRST_NOTICE, SUSPENSION_NOTICE = "failed", "suspended"
dunning_schedule_of = cache(DunningSchedule.parse)


def current_dunning_schedule() -> DunningSchedule:
    """Return the configured dunning schedule."""
    return dunning_schedule_of(current_settings().dunning)


def is_small(invoice: Invoice) -> bool:
    """Whether the invoice's balance is below the provider's minimum charge: it waits for the account's next payment.

    If the minimum is not known, the provider has refused the invoice's last payment for it.
    """
    if not has_known_minimum(invoice.currency) and invoice.balance_minor > 0:
        return bool(invoice.payments) and invoice.payments[-1].decline_code == AMOUNT_TOO_SMALL
    return 0 < invoice.balance_minor < minimum_charge_minor(invoice.currency)


def list_overdue(invoices: Iterable[Invoice]) -> list[Invoice]:
    """Return those of the open invoices whose collection has failed, and that can be charged."""
    return [invoice for invoice in invoices if invoice.first_failed_on and not is_small(invoice)]


def find_overdue_since(account_id: str) -> date | None:
    """Return the day on which the earliest overdue invoice of the account first failed; None if none is overdue."""
    return rules.overdue_since(map(_debt, list_overdue(Invoice.list_open(account_id))))


def is_of_transferred_subscription(invoice: Invoice) -> bool:
    """Whether the invoice's subscription lives on with another account: it is written off only after that ends."""
    subscription = invoice.subscription_id and db.session.get_one(Subscription, invoice.subscription_id)
    is_live = bool(subscription and subscription.status in LIVE_STATUSES)
    return bool(subscription and is_live and subscription.account_id != invoice.account_id)


def _debt(invoice: Invoice) -> Debt:
    return Debt(invoice.first_failed_on, invoice.next_attempt_on, bool(invoice.attempts))


def is_due(invoice: Invoice, today: date) -> bool:
    """Whether the collection of an open invoice is to be attempted by today."""
    return _debt(invoice).is_due(today)


def list_collectable(invoices: Iterable[Invoice]) -> list[Invoice]:
    """Return those of the open invoices that can be collected or written off now.

    Not those with a payment in flight, whose outcome decides the next step; those that were not issued, since they
    belong to a start or a change that their payment decides; and those of a subscription on billing hold.
    """
    return [
        invoice
        for invoice in invoices
        if invoice.status == "open"
        and invoice.issued_at
        and not any(payment.is_in_flight for payment in invoice.payments)
        and not _is_on_billing_hold(invoice)
    ]


def _is_on_billing_hold(invoice: Invoice) -> bool:
    subscription = invoice.subscription_id and db.session.get_one(Subscription, invoice.subscription_id)
    return bool(subscription and subscription.billing_held_at)


def billing_day(invoice: Invoice, now: datetime) -> date:
    """Return today in the time zone in which the invoice is billed: its subscription's, else its account's."""
    if invoice.subscription_id:
        return civil_day(now, db.session.get_one(Subscription, invoice.subscription_id).time_zone)
    return civil_day(now, db.session.get_one(Account, invoice.account_id).time_zone)


def start_dunning(invoice: Invoice, now: datetime) -> None:
    """Make an open invoice overdue: money that was paid for it went back to the payer."""
    today = billing_day(invoice, now)
    invoice.attempts = max(1, invoice.attempts)
    invoice.first_failed_on = invoice.first_failed_on or today
    invoice.next_attempt_on = invoice.next_attempt_on or compute_next_attempt(invoice, today, None)
    enqueue_notices(invoice.account_id, now)
    if is_of_transferred_subscription(invoice):  # under the lock of another account
        payload = {"subscription_id": invoice.subscription_id}
        jobs.enqueue_job(DUE_JOB, payload, now, f"{invoice.subscription_id} owes {invoice.id} {now.isoformat()}")


def compute_next_attempt(invoice: Invoice, today: date, decline_code: str | None) -> date | None:
    """Return the day of the next attempt by the schedule of the account's dunning case; None if there is none."""
    since = find_overdue_since(invoice.account_id)
    first_failed_on = min(day for day in (since, invoice.first_failed_on, today) if day)
    return current_dunning_schedule().next_retry_on(first_failed_on, today, decline_code)


def enqueue_collection(account: Account, now: datetime) -> None:
    """Enqueue the job that takes the next step of the account's debts; none if it owes nothing."""
    collectable = list_collectable(Invoice.list_open(account.id))
    owed = [
        replace(_debt(invoice), waits_for_other=is_of_transferred_subscription(invoice))
        for invoice in collectable
        if not is_small(invoice)
    ]
    next_step_on = rules.next_step_on(owed, current_dunning_schedule(), civil_day(now, account.time_zone))
    days = [next_step_on, *(small_write_off_day(invoice) for invoice in collectable if is_small(invoice))]
    if day := min((day for day in days if day), default=None):
        moment = max(now, start_of_day(day, account.time_zone))
        jobs.enqueue_job(COLLECT_JOB, {"account_id": account.id}, moment, f"collect {account.id} {moment.isoformat()}")


def small_write_off_day(invoice: Invoice) -> date:
    """Return the day on which an invoice too small to charge is written off, unless a payment has covered it by then.

    It does not come while the account has a live subscription, whose next payment covers it.
    """
    assert invoice.issued_at is not None, "only an issued invoice is collected"
    return current_dunning_schedule().cancels_on(billing_day(invoice, invoice.issued_at))


def enqueue_notices(account_id: str, now: datetime) -> None:
    """Enqueue the notices of the account's dunning case, each once: of its beginning, and of the end of access."""
    if since := find_overdue_since(account_id):
        _enqueue_notice(FIRST_NOTICE, account_id, since, now)
        enqueue_suspension_notice(account_id, since, now)


def enqueue_suspension_notice(account_id: str, since: date, now: datetime) -> None:
    """Enqueue the notice that the account's access ends, for the day on which it does."""
    time_zone = db.session.get_one(Account, account_id).time_zone
    suspended_at = start_of_day(current_dunning_schedule().suspends_on(since), time_zone)
    _enqueue_notice(SUSPENSION_NOTICE, account_id, since, max(now, suspended_at))


def _enqueue_notice(step: str, account_id: str, since: date, moment: datetime) -> None:
    payload = {"account_id": account_id, "step": step, "since": since.isoformat()}
    jobs.enqueue_job(NOTICE_JOB, payload, moment, f"dunning {step} {account_id} {since.isoformat()}")


def require_no_overdue_debts(account_id: str, today: date) -> None:
    """Raise PaymentOverdue if the account's debts are past the grace period, naming the invoices to pay."""
    overdue = list_overdue(Invoice.list_open(account_id))
    since = rules.overdue_since(map(_debt, overdue))
    if current_dunning_schedule().stage(since, today) in BLOCKING_STAGES:
        raise PaymentOverdue(invoices=[overdue_invoice_view(invoice) for invoice in overdue])


def require_no_written_off_debts(account_id: str) -> None:
    """Raise PaymentOverdue if invoices of the account were written off that it can still pay, naming them."""
    if owed := list_written_off_debts(account_id):
        raise PaymentOverdue(invoices=owed)


def list_written_off_debts(account_id: str) -> list[dict]:
    """List what the account owes on invoices that were written off and that it can still pay, in every currency."""
    uncollectible = Invoice.account_id == account_id, Invoice.status == "uncollectible"
    return [
        overdue_invoice_view(invoice) | {"balance_minor": owed_minor}
        for invoice in db.session.scalars(sa.select(Invoice).where(*uncollectible).order_by(Invoice.id))
        if (owed_minor := written_off_amount(invoice)) >= minimum_charge_minor(invoice.currency)
    ]


def list_void_debts(account_id: str, currency: str) -> list[Invoice]:
    """List the account's void invoices of which something is written off, oldest first."""
    written_off = (
        sa.select(LedgerEntry.invoice_id)
        .where(LedgerEntry.account_id == account_id, LedgerEntry.book == "written_off")
        .where(LedgerEntry.currency == currency)
        .group_by(LedgerEntry.invoice_id)
        .having(sa.func.sum(LedgerEntry.amount_minor) > 0)
    )
    void = sa.select(Invoice).where(Invoice.id.in_(written_off), Invoice.status == "void")
    return list(db.session.scalars(void.order_by(Invoice.id)))


def written_off_amount(invoice: Invoice) -> int:
    """Return the amount written off on the invoice and not recovered since, in minor units."""
    return ledger.sum_invoice_entries(invoice.id, "written_off")


def was_written_off_since(subscription: Subscription, since: date) -> bool:
    """Whether a debt that the subscription's access depends on was written off on the day `since` or later."""
    is_relevant = sa.or_(Invoice.account_id == subscription.account_id, Invoice.subscription_id == subscription.id)
    statement = (
        sa.select(LedgerEntry.id)
        .join(Invoice, Invoice.id == LedgerEntry.invoice_id)
        .where(is_relevant, Invoice.status == "uncollectible")
        .where(LedgerEntry.book == "written_off", LedgerEntry.amount_minor > 0)
        .where(LedgerEntry.at >= start_of_day(since, subscription.time_zone))
    )
    return db.session.scalar(statement.limit(1)) is not None


def overdue_invoice_view(invoice: Invoice) -> dict:
    """Return what identifies an invoice to be paid, and the amount owed on it."""
    return {
        "id": invoice.id,
        "number": invoice.number,
        "currency": invoice.currency,
        "balance_minor": invoice.balance_minor,
    }
