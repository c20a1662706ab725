"""Batch processing: many subscriptions or payments in one unit of work, with all locks taken and reads preloaded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, aliased, lazyload, selectinload

from streamsvc import clock
from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import UNKNOWN, ChargeRequest, Outcome
from streamsvc.models import Account
from streamsvc.models.subscriptions import (
    BillingAddress,
    Discount,
    Invoice,
    LedgerEntry,
    LegalEntity,
    LegalEntityCountry,
    Payment,
    PaymentMethod,
    Payout,
    Plan,
    Price,
    PriceMigration,
    Referral,
    Subscription,
    TaxId,
    TaxRate,
)
from streamsvc.operations.billing.core import charging, debts, event_store, households, ledger, payment_outcomes
from streamsvc.operations.billing.core.aggregate import ReplayedHistory, SubscriptionAggregate, build_aggregate
from streamsvc.rules.billing.access import LIVE_STATUSES
from streamsvc.storage import lock_order
from streamsvc.storage.database import batching_session, db, fetch_all
from streamsvc.storage.unit_of_work import UnitOfWork, unit_of_work
from streamsvc.worker import jobs

INVOICE_LOAD_OPTIONS = (lazyload(Invoice.lines), selectinload(Invoice.payments))
"""Loads payments along with invoices: a lazy load during the unit of work would first flush all deferred writes."""

OTHER_ACCOUNTS = aliased(Account)


class BatchSize:
    """How many items fit into a unit of work that may hold its locks for `max_lock_s`, as measured so far."""

    MINIMUM = 4
    """A unit of work for each would take several times as long in all, just when the machine is busy."""

    def __init__(self, max_lock_s: float, maximum: int, first: int = 8, minimum: int = MINIMUM) -> None:
        self.max_lock_s, self.maximum, self.minimum = max_lock_s, maximum, min(minimum, maximum)
        self.value = min(first, maximum)

    def adapt(self, count: int, held_s: float) -> None:
        """Take into account that `count` items held the locks for `held_s`; the size at most doubles."""
        fitting = int(count * self.max_lock_s / max(held_s, 0.001))
        self.value = max(self.minimum, min(fitting, 2 * count, self.maximum))


@contextmanager
def lock_batch(
    subscription_ids: Iterable[str],
    now: datetime,
    account_ids: Iterable[str] = (),
    replayed: Mapping[str, ReplayedHistory] | None = None,
    for_billing: bool = True,
) -> Iterator[dict[str, SubscriptionAggregate]]:
    """Run a unit of work on the subscriptions: yields them by id, under their accounts' locks. The caller commits.

    Locks the subscriptions' accounts and the other accounts, in id order, and preloads what their processing reads.
    `replayed`: the histories as replayed a moment ago, by subscription id. `for_billing`: also preload what new
    invoices need: discounts, payment methods, tax, and account credit.
    """
    with unit_of_work(batching_session()) as work:
        sorted_ids = sorted(set(subscription_ids))
        accounts = _lock_accounts(sorted_ids, sorted(set(account_ids)))
        facts = event_store.load_facts_by_subscription(sorted_ids)
        subscriptions = _load_fresh(sa.select(Subscription).where(Subscription.id.in_(sorted_ids)))
        _preload_rows(work, accounts, subscriptions)
        if for_billing:
            _preload_for_billing(work, accounts, sorted_ids)
        aggregates = {
            row.id: build_aggregate(accounts[row.account_id], row, facts[row.id], now, (replayed or {}).get(row.id))
            for row in subscriptions
        }
        households.lock_households_with_offers(aggregates.values())
        yield aggregates


def _lock_accounts(subscription_ids: list[str], account_ids: list[str]) -> dict[str, Account]:
    owners = sa.select(Subscription.account_id).where(Subscription.id.in_(subscription_ids))
    others = sa.select(OTHER_ACCOUNTS.id).where(OTHER_ACCOUNTS.id.in_(account_ids))
    # an OR makes PostgreSQL scan the table
    return {account.id: account for account in lock_accounts(Account.id.in_(sa.union_all(owners, others)))}


def lock_accounts(condition: sa.ColumnElement[bool]) -> list[Account]:
    """Load the accounts that meet the condition under their row locks, which are taken in the order of their ids."""
    accounts = _load_fresh(sa.select(Account).where(condition).order_by(Account.id).with_for_update())
    for account in accounts:
        lock_order.note_row_lock(db.session(), "accounts", account.id)
    return accounts


def preload_accounts(work: UnitOfWork, accounts: Iterable[Account]) -> None:
    """Preload what starting a subscription asks of these locked accounts, of which most are new."""
    by_id = {account.id: account for account in accounts}
    live = sa.select(Subscription).where(Subscription.account_id.in_(by_id), Subscription.status.in_(LIVE_STATUSES))
    _preload_rows(work, by_id, _load_fresh(live))
    work.preload_lists(Subscription.account_id, by_id, [row for row in work.loaded if isinstance(row, Subscription)])
    _preload_methods(work, by_id)
    work.preload_lists(LedgerEntry.account_id, by_id, ledger.sum_credit_entries(list(by_id)))
    payouts = sa.select(Payout).where(Payout.account_id.in_(by_id)).order_by(Payout.id)
    work.preload_lists(Payout.account_id, by_id, _load_fresh(payouts))


def preload_prices(work: UnitOfWork, prices: Sequence[Price], ids: Iterable[str]) -> None:
    """Preload these prices, which were loaded with their plans, and their open migrations; other `ids` are missing."""
    price_ids = {price.id for price in prices}
    work.preload_rows(Price, price_ids | set(ids), prices)
    work.preload_rows(Plan, {price.plan_id for price in prices}, {price.plan for price in prices})
    work.preload_lists(PriceMigration.from_price_id, price_ids, PriceMigration.list_open(price_ids))


def _preload_rows(work: UnitOfWork, accounts: Mapping[str, Account], subscriptions: Sequence[Subscription]) -> None:
    """Preload the rows themselves, their open invoices and drafts, and the accounts' referrals."""
    subscription_ids = [row.id for row in subscriptions]
    work.preload_rows(Account, accounts, accounts.values())
    work.preload_rows(Subscription, subscription_ids, subscriptions)
    owned = sa.or_(Invoice.account_id.in_(accounts), Invoice.subscription_id.in_(subscription_ids))
    statement = sa.select(Invoice).where(Invoice.status.in_(("open", "draft")), owned).order_by(Invoice.id)
    invoices = _load_fresh(statement.options(*INVOICE_LOAD_OPTIONS))
    work.preload_rows(Invoice, [invoice.id for invoice in invoices], invoices)
    work.preload_lists(Invoice.account_id, accounts, invoices)
    work.preload_lists(Invoice.subscription_id, subscription_ids, invoices)
    _preload_by_key(work, Referral.account_id, accounts)
    prices = [row for row in work.loaded if isinstance(row, Price)]  # loaded with the subscriptions' events
    work.preload_rows(Price, [price.id for price in prices], prices)


def _preload_for_billing(work: UnitOfWork, accounts: Mapping[str, Account], subscription_ids: list[str]) -> None:
    """Preload what new invoices and payments need."""
    discounts = sa.select(Discount).where(Discount.subscription_id.in_(subscription_ids)).order_by(Discount.id)
    work.preload_lists(Discount.subscription_id, subscription_ids, _load_fresh(discounts))
    _preload_methods(work, accounts)
    _preload_by_key(work, TaxId.account_id, accounts)
    countries = {account.country for account in accounts.values()}
    rates = sa.select(TaxRate).where(TaxRate.country.in_(countries)).order_by(TaxRate.country, TaxRate.category)
    work.preload_lists(TaxRate.country, countries, _load_fresh(rates))
    _preload_by_key(work, LegalEntityCountry.country, countries)
    sellers = sa.select(LegalEntityCountry.entity_code).where(LegalEntityCountry.country.in_(countries))
    _preload_by_key(work, LegalEntity.code, set(db.session.scalars(sellers)))
    _preload_by_key(work, BillingAddress.account_id, accounts)
    work.preload_lists(LedgerEntry.account_id, accounts, ledger.sum_credit_entries(list(accounts)))


def _preload_methods(work: UnitOfWork, account_ids: Iterable[str]) -> None:
    is_active = PaymentMethod.account_id.in_(account_ids), PaymentMethod.removed_at.is_(None)
    methods = sa.select(PaymentMethod).where(*is_active).order_by(PaymentMethod.id)
    work.preload_lists(PaymentMethod.account_id, account_ids, _load_fresh(methods))


def _preload_by_key(work: UnitOfWork, key_column: InstrumentedAttribute, keys: Iterable[str]) -> None:
    """Preload the rows with these primary keys."""
    model, keys = key_column.class_, list(keys)
    work.preload_rows(model, keys, _load_fresh(sa.select(model).where(key_column.in_(keys))))


def _load_fresh(query: sa.Select[Any]) -> list:
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def send_payments(payment_ids: Sequence[str], replayed: Mapping[str, ReplayedHistory] | None = None) -> None:
    """Send recorded payments to the provider and complete them together. Must not be called inside a transaction."""
    if not payment_ids:
        return
    requests = fetch_all(
        sa.select(
            Payment.id,
            PaymentMethod.reference,
            Payment.amount_minor,
            Payment.currency,
            Payment.on_session,
            Payment.invoice_id,
            Invoice.number,
        )
        .join(PaymentMethod, PaymentMethod.id == Payment.payment_method_id)
        .join(Invoice, Invoice.id == Payment.invoice_id)
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
    live = sa.and_(Subscription.account_id == Payment.account_id, Subscription.status.in_(LIVE_STATUSES))
    statement = sa.select(Payment.id, Payment.account_id, Invoice.subscription_id, Subscription.id.label("live_id"))
    statement = statement.select_from(Payment).join(Invoice, Invoice.id == Payment.invoice_id)
    rows = fetch_all(statement.outerjoin(Subscription, live).where(Payment.id.in_(ids)))
    subscription_ids = {key for row in rows for key in (row.subscription_id, row.live_id) if key}
    live_ids = {row.id: row.live_id for row in rows}
    with lock_batch(subscription_ids, now, {row.account_id for row in rows}, replayed, for_billing=False) as aggregates:
        payments = _load_fresh(sa.select(Payment).where(Payment.id.in_(ids)))
        invoices_statement = sa.select(Invoice).where(Invoice.id.in_([payment.invoice_id for payment in payments]))
        invoices = {invoice.id: invoice for invoice in _load_fresh(invoices_statement.options(*INVOICE_LOAD_OPTIONS))}
        for payment in sorted(payments, key=lambda payment: payment.id):
            invoice = invoices[payment.invoice_id]
            aggregate, live_aggregate = aggregates.get(invoice.subscription_id), aggregates.get(live_ids[payment.id])
            payment_outcomes.book_outcome(payment, invoice, outcomes[payment.id], now, aggregate)
            if live_aggregate and live_aggregate is not aggregate:
                live_aggregate.save_projection()
            elif live_aggregate is None:
                debts.enqueue_collection(db.session.get_one(Account, payment.account_id), now)
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
