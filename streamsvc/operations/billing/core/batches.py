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
from streamsvc.operations.billing.core.aggregate import Replayed
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import all_rows, db
from streamsvc.worker import jobs

TO_SETTLE = (lazyload(Invoice.lines), selectinload(Invoice.payments))
"""What is read with invoices: whatever is read later, one by one, would have all that is kept back written before."""

OTHERS = aliased(Account)


def hold(
    subscription_ids: Iterable[str],
    account_ids: Iterable[str] = (),
    replayed: Mapping[str, Replayed] | None = None,
    to_bill: bool = True,
) -> None:
    """Lock the subscriptions' accounts and the others, in the order of their ids, and tell what will be asked.

    `replayed`: what the subscriptions' histories amounted to a moment ago. `to_bill`: tell also what new invoices ask.
    """
    ids = sorted(set(subscription_ids))
    owners = sa.select(Subscription.account_id).where(Subscription.id.in_(ids))
    others = sa.select(OTHERS.id).where(OTHERS.id.in_(sorted(set(account_ids))))
    mine = sa.select(Account).where(Account.id.in_(sa.union_all(owners, others)))  # PostgreSQL reads all for an OR
    accounts = {one.id: one for one in _fresh(mine.order_by(Account.id).with_for_update())}
    facts = event_store.facts_of_all(ids)
    for row in _fresh(sa.select(Subscription).where(Subscription.id.in_(ids))):
        unit_of_work.tell(("held", row.id), (accounts[row.account_id], row))
        unit_of_work.tell(("facts", row.id), facts[row.id])
        unit_of_work.tell(("replayed", row.id), (replayed or {}).get(row.id))
    _tell_open_invoices(list(accounts), ids)
    _tell_one_by_one("is referred", accounts, dict.fromkeys(referrals.referred(list(accounts)), True), False)
    if to_bill:
        discounts = _fresh(sa.select(Discount).where(Discount.subscription_id.in_(ids)))
        _tell_lists("discounts", ids, "subscription_id", discounts)
        _tell_of_accounts(list(accounts))


def _tell_open_invoices(account_ids: Sequence[str], subscription_ids: Sequence[str]) -> None:
    mine = sa.or_(Invoice.account_id.in_(account_ids), Invoice.subscription_id.in_(subscription_ids))
    owed = sa.select(Invoice).where(Invoice.status == "open", mine)
    found = _fresh(owed.options(*TO_SETTLE))
    _tell_lists("open invoices", account_ids, "account_id", found)
    _tell_lists("open invoices", subscription_ids, "subscription_id", found)


def _tell_of_accounts(ids: list[str]) -> None:
    kept = sa.select(PaymentMethod).where(PaymentMethod.account_id.in_(ids), PaymentMethod.removed_at.is_(None))
    _tell_lists("methods", ids, "account_id", _fresh(kept))
    tax_ids = {one.account_id: one for one in _fresh(sa.select(TaxId).where(TaxId.account_id.in_(ids)))}
    _tell_one_by_one("tax id", ids, tax_ids, None)
    _tell_one_by_one("credit", ids, ledger.credits_of(ids), None)


def _tell_one_by_one(name: str, keys: Iterable[str], answers: Mapping[str, object], otherwise) -> None:
    for key in keys:
        unit_of_work.tell((name, key), answers.get(key, otherwise))


def _tell_lists(name: str, keys: Iterable[str], column: str, rows: Iterable) -> None:
    """Tell under (name, key) the rows of each key, in the order of their ids."""
    of_key = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.id):
        of_key[getattr(row, column)].append(row)
    for key in keys:
        unit_of_work.tell((name, key), of_key[key])


def _fresh(query) -> list:
    return list(db.session.scalars(query.execution_options(populate_existing=True)))


def send_all(payment_ids: Sequence[str], replayed: Mapping[str, Replayed] | None = None) -> None:
    """Send recorded payments, and settle them together. Not to be called inside a unit of work."""
    if not payment_ids:
        return
    requests = all_rows(
        sa.select(Payment.id, PaymentMethod.reference, Payment.amount_minor, Payment.currency, Payment.on_session)
        .join(PaymentMethod, PaymentMethod.id == Payment.payment_method_id)
        .where(Payment.id.in_(payment_ids))
        .order_by(Payment.id)
    )
    bank = provider()
    outcomes = dict(zip([row.id for row in requests], bank.charge_all([Charge(*row) for row in requests]), strict=True))
    for payment_id in [key for key, outcome in outcomes.items() if outcome.status == UNKNOWN]:
        outcomes[payment_id] = bank.find(payment_id) or outcomes[payment_id]  # perhaps only the reply was lost
    settle_all(outcomes, replayed)


def settle_all(outcomes: Mapping[str, Outcome], replayed: Mapping[str, Replayed] | None = None) -> None:
    """Book what came of each payment. Commits."""
    now, ids = clock.now(), sorted(outcomes)
    about = sa.select(Payment.id, Payment.account_id, Invoice.subscription_id).join(Invoice)
    found = all_rows(about.where(Payment.id.in_(ids)))
    with unit_of_work.together():
        subscriptions = [row.subscription_id for row in found if row.subscription_id]
        hold(subscriptions, [row.account_id for row in found], replayed, to_bill=False)
        payments = _fresh(sa.select(Payment).where(Payment.id.in_(ids)))
        bills = sa.select(Invoice).where(Invoice.id.in_([one.invoice_id for one in payments]))
        invoices = {one.id: one for one in _fresh(bills.options(*TO_SETTLE))}
        for payment in sorted(payments, key=lambda one: one.id):
            charging.book(payment, invoices[payment.invoice_id], outcomes[payment.id], now)
    db.session.commit()


@jobs.set_handler(charging.JOB)
def reconcile_together(payloads: list[dict], now: datetime) -> list[dict]:
    """Find out what became of payments whose outcome we do not know; those that stay unknown are asked for again."""
    in_doubt = sa.select(Payment.id).where(
        Payment.id.in_([payload["payment_id"] for payload in payloads]), Payment.status.in_(("pending", "unknown"))
    )
    waiting = db.session.scalars(sa.select(Payment).where(Payment.id.in_(in_doubt)).order_by(Payment.id)).all()
    ids = [payment.id for payment in waiting]
    found = {payment_id: charging.look_for(db.session.get(Payment, payment_id), now) for payment_id in ids}
    settle_all({payment_id: outcome for payment_id, outcome in found.items() if outcome})
    send_all([payment_id for payment_id in ids if not found[payment_id]])
    left = {row.id for row in all_rows(in_doubt)}
    return [payload for payload in payloads if payload["payment_id"] in left]
