"""After a restore: what the payment provider did since the backup, compared with the books, and booked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import (
    DECLINED,
    REQUIRES_ACTION,
    SUCCEEDED,
    UNKNOWN,
    Outcome,
    ProviderCharge,
    ProviderRefund,
    ProviderUnavailable,
)
from streamsvc.models import Account
from streamsvc.models.subscriptions import LedgerEntry, Payment, PaymentMethod, ProviderCustomer, Refund
from streamsvc.models.subscriptions.payments import IN_FLIGHT_STATUSES
from streamsvc.operations.billing.core import charging, credit, ledger
from streamsvc.operations.billing.invoices import provider_refunds
from streamsvc.operations.billing.payments.refresh import find_current_outcome
from streamsvc.storage.database import db, fetch_all, fetch_one, lock_existing_row

PAID_STATUSES = ("succeeded", "disputed")


@dataclass(frozen=True)
class Discrepancy:
    """What the provider did and the books do not have. `book` books it; None if only the operator can."""

    subject: str
    amount_minor: int
    currency: str
    account_id: str | None
    what: str
    book: Callable[[], object] | None = None


def list_discrepancies(since: datetime, now: datetime) -> list[Discrepancy]:
    """Compare the books with the provider's charges and refunds since a moment. Raises ProviderUnavailable."""
    provider = current_provider()
    refunds, charges = provider.list_recent_refunds(since), provider.list_charges(since)
    lost = [charge for charge in charges if charge.payment_id and not _find_payment(charge.payment_id)]
    found = list(_compare_payments_in_flight(charges, now))
    found += _compare_failed_payments(charges, now)
    for charge in lost:
        found += _compare_lost_charge(charge, [r for r in refunds if r.charge == charge.reference], now)
    for refund in reversed(refunds):  # oldest first
        found += _compare_refund(refund, now)
    return found


def _find_payment(payment_id: str) -> sa.Row | None:
    columns = (Payment.id, Payment.account_id, Payment.status)
    return fetch_one(sa.select(*columns).where(Payment.id == payment_id))


def _compare_payments_in_flight(charges: list[ProviderCharge], now: datetime) -> Iterator[Discrepancy]:
    """Yield payments of which the provider knows the outcome. Raises ProviderUnavailable."""
    succeeded = {charge.payment_id: _success(charge) for charge in charges if charge.status == SUCCEEDED}
    in_flight = Payment.status.in_(IN_FLIGHT_STATUSES), Payment.provider == current_provider().name
    for payment in db.session.scalars(sa.select(Payment).where(*in_flight).order_by(Payment.id)).all():
        amount, status = (payment.amount_minor, payment.currency, payment.account_id), payment.status
        payment_id = payment.id
        outcome = succeeded.get(payment_id) or find_current_outcome(payment, now)
        if outcome and outcome.status == UNKNOWN and outcome.reference is None:
            raise ProviderUnavailable
        if outcome and outcome.status not in (UNKNOWN, status):
            what = f"{status} in the books, {outcome.status} at the provider"
            yield Discrepancy(payment_id, *amount, what, partial(charging.complete_payment, payment_id, outcome, now))


def _success(charge: ProviderCharge) -> Outcome:
    return Outcome(SUCCEEDED, charge.reference, captured_minor=charge.amount_minor)


def _compare_failed_payments(charges: list[ProviderCharge], now: datetime) -> Iterator[Discrepancy]:
    """Yield payments that have failed here, and succeeded at the provider afterwards."""
    for charge in charges:
        payment = charge.payment_id and _find_payment(charge.payment_id)
        if payment and payment.status == "failed" and charge.status == SUCCEEDED:
            amount = charge.amount_minor, charge.currency, payment.account_id
            what = "failed in the books, succeeded at the provider"
            book = partial(charging.complete_payment, payment.id, _success(charge), now)
            yield Discrepancy(payment.id, *amount, what, book)


def _compare_lost_charge(charge: ProviderCharge, refunds: list[ProviderRefund], now: datetime) -> Iterator[Discrepancy]:
    """Yield a charge whose payment the books do not have, with its refunds."""
    refunded_minor = sum(refund.amount_minor for refund in refunds if refund.status == SUCCEEDED)
    account_id, kept_minor = _find_payer(charge.payer), charge.amount_minor - refunded_minor
    amount = charge.amount_minor, charge.currency, account_id
    if charge.status == REQUIRES_ACTION:
        what = "a payment that waits for its payer is lost; it is canceled"
        yield Discrepancy(charge.reference, *amount, what, partial(_cancel_charge, charge.reference))
    elif charge.status == UNKNOWN:
        yield Discrepancy(
            charge.reference, *amount, "a payment that is still being processed is lost; look again later"
        )
    elif charge.status == DECLINED or kept_minor <= 0 or _is_booked(charge):
        return
    elif account_id is None:
        yield Discrepancy(charge.reference, *amount, "charged to an account that is lost or deleted; refund it there")
    else:
        refunded = f", {refunded_minor} refunded" if refunded_minor else ""
        what = f"charged{refunded}, and the payment is lost; it becomes account credit"
        yield Discrepancy(charge.reference, *amount, what, partial(_credit_charge, account_id, charge, kept_minor, now))


def _find_payer(payer: str) -> str | None:
    """Find the account with this customer or payment method, unless it was deleted."""
    is_payer = sa.or_(
        Account.id.in_(sa.select(ProviderCustomer.account_id).where(ProviderCustomer.reference == payer)),
        Account.id.in_(sa.select(PaymentMethod.account_id).where(_is_method_of(payer))),
    )
    row = fetch_one(sa.select(Account.id).where(is_payer, Account.status != "deleted")) if payer else None
    return row[0] if row else None


def _is_method_of(payer: str) -> sa.ColumnElement[bool]:
    is_of_customer = PaymentMethod.reference.startswith(f"{payer}/", autoescape=True)
    return sa.or_(PaymentMethod.reference == payer, is_of_customer)


def _note(charge: ProviderCharge) -> str:
    return f"Charge {charge.reference} from before a restore"


def _is_booked(charge: ProviderCharge) -> bool:
    return bool(fetch_all(sa.select(LedgerEntry.id).where(LedgerEntry.note == _note(charge)).limit(1)))


def _credit_charge(account_id: str, charge: ProviderCharge, kept_minor: int, now: datetime) -> None:
    """Book the money of a charge without a payment as account credit, once; it pays what is owed. Commits."""
    account = lock_existing_row(Account, account_id)
    is_new = db.session.scalar(sa.select(LedgerEntry.id).where(LedgerEntry.note == _note(charge)).limit(1)) is None
    if is_new:
        books: dict[str, Any] = {"cash": kept_minor, "customer_credit": -kept_minor}
        ledger.post_account_journal(account.id, charge.currency, "payment", now, note=_note(charge), **books)
        credit.apply_new_credit(account, charge.currency, now)
    db.session.commit()


def _cancel_charge(reference: str) -> None:
    if current_provider().cancel_charge(reference).status == UNKNOWN:
        raise ProviderUnavailable


def _compare_refund(refund: ProviderRefund, now: datetime) -> Iterator[Discrepancy]:
    """Yield a refund of a known payment that the books do not have, or not in the state that it has."""
    payment = refund.charge and fetch_one(
        sa.select(Payment.id, Payment.account_id).where(
            Payment.provider_reference == refund.charge, Payment.status.in_(PAID_STATUSES)
        )
    )
    if not payment or refund.status == UNKNOWN:
        return
    is_same = sa.or_(Refund.id == refund.refund_id, Refund.provider_reference == refund.reference)
    known = fetch_one(sa.select(Refund.status).where(Refund.payment_id == payment.id, is_same))
    status, at_provider = known[0] if known else None, {SUCCEEDED: "succeeded", DECLINED: "failed"}[refund.status]
    if status == at_provider or (status is None and at_provider == "failed"):
        return
    what = f"refund of {payment.id} {status or 'missing'} in the books, {at_provider} at the provider"
    book = partial(provider_refunds.record_provider_refund, payment.id, refund, now)
    yield Discrepancy(refund.reference, refund.amount_minor, refund.currency, payment.account_id, what, book)
