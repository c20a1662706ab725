"""Batch processing: many subscriptions or payments in one unit of work, with all locks taken and reads preloaded."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased, lazyload, selectinload

from streamsvc import clock
from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import UNKNOWN, ChargeRequest, Outcome
from streamsvc.models import Account
from streamsvc.models.subscriptions import Discount, Invoice, Payment, PaymentMethod, Subscription, TaxId
from streamsvc.operations.billing.core import charging, event_store, ledger, referrals
from streamsvc.operations.billing.core.aggregate import ReplayedHistory
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, fetch_all
from streamsvc.worker import jobs

INVOICE_LOAD_OPTIONS = (lazyload(Invoice.lines), selectinload(Invoice.payments))
"""Loads payments along with invoices: a lazy load during the unit of work would first flush all deferred writes."""

OTHER_ACCOUNTS = aliased(Account)


def lock_and_preload(
    subscription_ids: Iterable[str],
    account_ids: Iterable[str] = (),
    replayed: Mapping[str, ReplayedHistory] | None = None,
    for_billing: bool = True,
) -> None:
    """Lock the subscriptions' accounts and the other accounts, in id order, and preload what their processing reads.

    `replayed`: the histories as replayed a moment ago, by subscription id. `for_billing`: also preload what new
    invoices need: discounts, payment methods, tax ids, and account credit.
    """
    sorted_ids = sorted(set(subscription_ids))
    owners = sa.select(Subscription.account_id).where(Subscription.id.in_(sorted_ids))
    others = sa.select(OTHER_ACCOUNTS.id).where(OTHER_ACCOUNTS.id.in_(sorted(set(account_ids))))
    accounts_statement = sa.select(Account).where(
        Account.id.in_(sa.union_all(owners, others))
    )  # an OR makes PostgreSQL scan the table
    accounts = {
        account.id: account for account in _load_fresh(accounts_statement.order_by(Account.id).with_for_update())
    }
    facts = event_store.load_facts_by_subscription(sorted_ids)
    for row in _load_fresh(sa.select(Subscription).where(Subscription.id.in_(sorted_ids))):
        unit_of_work.preload(("locked", row.id), (accounts[row.account_id], row))
        unit_of_work.preload(("facts", row.id), facts[row.id])
        unit_of_work.preload(("replayed", row.id), (replayed or {}).get(row.id))
    _preload_open_invoices(list(accounts), sorted_ids)
    _preload_values(
        "is referred", accounts, dict.fromkeys(referrals.list_accounts_awaiting_reward(list(accounts)), True), False
    )
    if for_billing:
        discounts = _load_fresh(sa.select(Discount).where(Discount.subscription_id.in_(sorted_ids)))
        _preload_lists("discounts", sorted_ids, "subscription_id", discounts)
        _preload_account_billing(list(accounts))


def _preload_open_invoices(account_ids: Sequence[str], subscription_ids: Sequence[str]) -> None:
    conditions = sa.or_(Invoice.account_id.in_(account_ids), Invoice.subscription_id.in_(subscription_ids))
    statement = sa.select(Invoice).where(Invoice.status == "open", conditions)
    invoices = _load_fresh(statement.options(*INVOICE_LOAD_OPTIONS))
    _preload_lists("open invoices", account_ids, "account_id", invoices)
    _preload_lists("open invoices", subscription_ids, "subscription_id", invoices)


def _preload_account_billing(account_ids: list[str]) -> None:
    methods = sa.select(PaymentMethod).where(
        PaymentMethod.account_id.in_(account_ids), PaymentMethod.removed_at.is_(None)
    )
    _preload_lists("methods", account_ids, "account_id", _load_fresh(methods))
    tax_ids = {
        tax_id.account_id: tax_id for tax_id in _load_fresh(sa.select(TaxId).where(TaxId.account_id.in_(account_ids)))
    }
    _preload_values("tax id", account_ids, tax_ids, None)
    _preload_values("credit", account_ids, ledger.load_account_credits(account_ids), None)


def _preload_values(name: str, keys: Iterable[str], values: Mapping[str, object], default: object) -> None:
    for key in keys:
        unit_of_work.preload((name, key), values.get(key, default))


def _preload_lists(name: str, keys: Iterable[str], column: str, rows: Iterable) -> None:
    """Preload the rows of each key under (name, key), in id order."""
    rows_by_key = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.id):
        rows_by_key[getattr(row, column)].append(row)
    for key in keys:
        unit_of_work.preload((name, key), rows_by_key[key])


def _load_fresh(query: sa.Select[Any]) -> list:
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def send_payments(payment_ids: Sequence[str], replayed: Mapping[str, ReplayedHistory] | None = None) -> None:
    """Send recorded payments to the provider and complete them together. Must not be called inside a transaction."""
    if not payment_ids:
        return
    requests = fetch_all(
        sa.select(Payment.id, PaymentMethod.reference, Payment.amount_minor, Payment.currency, Payment.on_session)
        .join(PaymentMethod, PaymentMethod.id == Payment.payment_method_id)
        .where(Payment.id.in_(payment_ids))
        .order_by(Payment.id)
    )
    payment_provider = current_provider()
    outcomes = dict(
        zip(
            [row.id for row in requests],
            payment_provider.charge_batch([ChargeRequest(*row) for row in requests]),
            strict=True,
        )
    )
    for payment_id in [key for key, outcome in outcomes.items() if outcome.status == UNKNOWN]:
        outcomes[payment_id] = (
            payment_provider.find_outcome(payment_id) or outcomes[payment_id]
        )  # the response may have been lost
    complete_payments(outcomes, replayed)


def complete_payments(outcomes: Mapping[str, Outcome], replayed: Mapping[str, ReplayedHistory] | None = None) -> None:
    """Book the outcome of each payment. Commits."""
    now, ids = clock.now(), sorted(outcomes)
    statement = sa.select(Payment.id, Payment.account_id, Invoice.subscription_id).join(Invoice)
    rows = fetch_all(statement.where(Payment.id.in_(ids)))
    with unit_of_work.unit_of_work():
        subscription_ids = [row.subscription_id for row in rows if row.subscription_id]
        lock_and_preload(subscription_ids, [row.account_id for row in rows], replayed, for_billing=False)
        payments = _load_fresh(sa.select(Payment).where(Payment.id.in_(ids)))
        invoices_statement = sa.select(Invoice).where(Invoice.id.in_([payment.invoice_id for payment in payments]))
        invoices = {invoice.id: invoice for invoice in _load_fresh(invoices_statement.options(*INVOICE_LOAD_OPTIONS))}
        for payment in sorted(payments, key=lambda payment: payment.id):
            charging.book_outcome(payment, invoices[payment.invoice_id], outcomes[payment.id], now)
    db.session.commit()


@jobs.batch_job_handler(charging.RECONCILE_JOB)
def reconcile_payments(payloads: list[dict], now: datetime) -> list[dict]:
    """Reconcile payments of unknown outcome with the provider.

    Returns the payloads of those that are still unknown, to be retried.
    """
    unresolved = sa.select(Payment.id).where(
        Payment.id.in_([payload["payment_id"] for payload in payloads]), Payment.status.in_(("pending", "unknown"))
    )
    payments = db.session.scalars(sa.select(Payment).where(Payment.id.in_(unresolved)).order_by(Payment.id)).all()
    ids = [payment.id for payment in payments]
    outcomes = {payment_id: charging.find_outcome(db.session.get_one(Payment, payment_id), now) for payment_id in ids}
    complete_payments({payment_id: outcome for payment_id, outcome in outcomes.items() if outcome})
    send_payments([payment_id for payment_id in ids if not outcomes[payment_id]])
    unresolved_ids = {row.id for row in fetch_all(unresolved)}
    return [payload for payload in payloads if payload["payment_id"] in unresolved_ids]
