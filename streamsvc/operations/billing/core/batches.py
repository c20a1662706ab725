"""Many subscriptions or payments in one unit of work: what their billing asks is read by set, under all their locks."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased, lazyload, selectinload

from streamsvc import clock
from streamsvc.gateways.payments import provider
from streamsvc.gateways.payments.interface import UNKNOWN, Charge, Outcome
from streamsvc.models import Account
from streamsvc.models.subscriptions import Discount, Invoice, Payment, PaymentMethod, Subscription, TaxId
from streamsvc.operations.billing.core import charging, event_store, ledger, referrals
from streamsvc.operations.billing.core.aggregate import ReplayedHistory
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, fetch_all
from streamsvc.worker import jobs

INVOICE_LOAD_OPTIONS = (lazyload(Invoice.lines), selectinload(Invoice.payments))
"""What is read with invoices: whatever is read later, one by one, would have all that is kept back written before."""

OTHER_ACCOUNTS = aliased(Account)


def lock_and_preload(
    subscription_ids: Iterable[str],
    account_ids: Iterable[str] = (),
    replayed: Mapping[str, ReplayedHistory] | None = None,
    for_billing: bool = True,
) -> None:
    """Lock the subscriptions' accounts and the others, in the order of their ids, and tell what will be asked.

    `replayed`: what the subscriptions' histories amounted to a moment ago. `to_bill`: tell also what new invoices ask.
    """
    ids = sorted(set(subscription_ids))
    owners = sa.select(Subscription.account_id).where(Subscription.id.in_(ids))
    others = sa.select(OTHER_ACCOUNTS.id).where(OTHER_ACCOUNTS.id.in_(sorted(set(account_ids))))
    mine = sa.select(Account).where(Account.id.in_(sa.union_all(owners, others)))  # PostgreSQL reads all for an OR
    accounts = {one.id: one for one in _load_fresh(mine.order_by(Account.id).with_for_update())}
    facts = event_store.load_facts_by_subscription(ids)
    for row in _load_fresh(sa.select(Subscription).where(Subscription.id.in_(ids))):
        unit_of_work.preload(("held", row.id), (accounts[row.account_id], row))
        unit_of_work.preload(("facts", row.id), facts[row.id])
        unit_of_work.preload(("replayed", row.id), (replayed or {}).get(row.id))
    _preload_open_invoices(list(accounts), ids)
    _preload_values(
        "is referred", accounts, dict.fromkeys(referrals.list_accounts_awaiting_reward(list(accounts)), True), False
    )
    if for_billing:
        discounts = _load_fresh(sa.select(Discount).where(Discount.subscription_id.in_(ids)))
        _preload_lists("discounts", ids, "subscription_id", discounts)
        _preload_account_billing(list(accounts))


def _preload_open_invoices(account_ids: Sequence[str], subscription_ids: Sequence[str]) -> None:
    mine = sa.or_(Invoice.account_id.in_(account_ids), Invoice.subscription_id.in_(subscription_ids))
    owed = sa.select(Invoice).where(Invoice.status == "open", mine)
    found = _load_fresh(owed.options(*INVOICE_LOAD_OPTIONS))
    _preload_lists("open invoices", account_ids, "account_id", found)
    _preload_lists("open invoices", subscription_ids, "subscription_id", found)


def _preload_account_billing(account_ids: list[str]) -> None:
    kept = sa.select(PaymentMethod).where(PaymentMethod.account_id.in_(account_ids), PaymentMethod.removed_at.is_(None))
    _preload_lists("methods", account_ids, "account_id", _load_fresh(kept))
    tax_ids = {one.account_id: one for one in _load_fresh(sa.select(TaxId).where(TaxId.account_id.in_(account_ids)))}
    _preload_values("tax id", account_ids, tax_ids, None)
    _preload_values("credit", account_ids, ledger.load_account_credits(account_ids), None)


def _preload_values(name: str, keys: Iterable[str], values: Mapping[str, object], default) -> None:
    for key in keys:
        unit_of_work.preload((name, key), values.get(key, default))


def _preload_lists(name: str, keys: Iterable[str], column: str, rows: Iterable) -> None:
    """Tell under (name, key) the rows of each key, in the order of their ids."""
    of_key = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.id):
        of_key[getattr(row, column)].append(row)
    for key in keys:
        unit_of_work.preload((name, key), of_key[key])


def _load_fresh(query) -> list:
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def send_payments(payment_ids: Sequence[str], replayed: Mapping[str, ReplayedHistory] | None = None) -> None:
    """Send recorded payments, and settle them together. Not to be called inside a unit of work."""
    if not payment_ids:
        return
    requests = fetch_all(
        sa.select(Payment.id, PaymentMethod.reference, Payment.amount_minor, Payment.currency, Payment.on_session)
        .join(PaymentMethod, PaymentMethod.id == Payment.payment_method_id)
        .where(Payment.id.in_(payment_ids))
        .order_by(Payment.id)
    )
    bank = provider()
    outcomes = dict(zip([row.id for row in requests], bank.charge_all([Charge(*row) for row in requests]), strict=True))
    for payment_id in [key for key, outcome in outcomes.items() if outcome.status == UNKNOWN]:
        outcomes[payment_id] = bank.find(payment_id) or outcomes[payment_id]  # perhaps only the reply was lost
    complete_payments(outcomes, replayed)


def complete_payments(outcomes: Mapping[str, Outcome], replayed: Mapping[str, ReplayedHistory] | None = None) -> None:
    """Book what came of each payment. Commits."""
    now, ids = clock.now(), sorted(outcomes)
    about = sa.select(Payment.id, Payment.account_id, Invoice.subscription_id).join(Invoice)
    found = fetch_all(about.where(Payment.id.in_(ids)))
    with unit_of_work.unit_of_work():
        subscriptions = [row.subscription_id for row in found if row.subscription_id]
        lock_and_preload(subscriptions, [row.account_id for row in found], replayed, for_billing=False)
        payments = _load_fresh(sa.select(Payment).where(Payment.id.in_(ids)))
        bills = sa.select(Invoice).where(Invoice.id.in_([one.invoice_id for one in payments]))
        invoices = {one.id: one for one in _load_fresh(bills.options(*INVOICE_LOAD_OPTIONS))}
        for payment in sorted(payments, key=lambda one: one.id):
            charging.book_outcome(payment, invoices[payment.invoice_id], outcomes[payment.id], now)
    db.session.commit()


@jobs.batch_job_handler(charging.RECONCILE_JOB)
def reconcile_payments(payloads: list[dict], now: datetime) -> list[dict]:
    """Find out what became of payments whose outcome we do not know; those that stay unknown are asked for again."""
    in_doubt = sa.select(Payment.id).where(
        Payment.id.in_([payload["payment_id"] for payload in payloads]), Payment.status.in_(("pending", "unknown"))
    )
    waiting = db.session.scalars(sa.select(Payment).where(Payment.id.in_(in_doubt)).order_by(Payment.id)).all()
    ids = [payment.id for payment in waiting]
    found = {payment_id: charging.find_outcome(db.session.get(Payment, payment_id), now) for payment_id in ids}
    complete_payments({payment_id: outcome for payment_id, outcome in found.items() if outcome})
    send_payments([payment_id for payment_id in ids if not found[payment_id]])
    left = {row.id for row in fetch_all(in_doubt)}
    return [payload for payload in payloads if payload["payment_id"] in left]
