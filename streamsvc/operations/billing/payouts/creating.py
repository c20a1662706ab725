"""Creating and completing payouts: to the payments that brought the money, the rest by an operator's bank transfer.

The payout and its refunds are recorded before the provider is called, outside any transaction; a refund of unknown
outcome is looked up later, under its own idempotency key, like any other (`invoices/refunds.py`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from streamsvc.gateways.payments import charge_step_minor, current_provider
from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import Payment, Payout, Refund
from streamsvc.operations.billing.core import ledger, payouts, referrals
from streamsvc.operations.billing.core.credit import apply_new_credit
from streamsvc.operations.billing.invoices import refunds
from streamsvc.rules.billing.inputs import PayoutInput
from streamsvc.rules.billing.payouts import divide_payout
from streamsvc.rules.refusals.billing import CreditNotPaidIn, WrongState
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, lock_existing_row, lock_row, new_id, reload_row


class PayoutPlan(NamedTuple):
    """How a payout would be made: (payment, amount) of each refund, and the rest."""

    amount_minor: int
    forced_minor: int
    refunds: Sequence[tuple[Payment, int]]
    bank_transfer_minor: int


def create_payout(account_id: str, body: PayoutInput, operator_id: str, now: datetime) -> Payout:
    """Pay out account credit. Commits before the provider is called, and after each refund.

    Raises NotFound, Invalid, WrongState, CreditNotPaidIn.
    """
    checkpoint = idempotency.load_checkpoint()
    if checkpoint is None:
        payout = _record_payout(account_id, body, operator_id, now)
        checkpoint = {"payout": payout.id, "refunds": [refund.id for refund in _list_refunds(payout.id)]}
        idempotency.save_checkpoint(**checkpoint)
        db.session.commit()
    for refund_id in checkpoint["refunds"]:
        refunds.resume_refund(refund_id)
    return reload_row(Payout, checkpoint["payout"])


def plan_payout(account: Account, body: PayoutInput) -> PayoutPlan:
    """Plan a payout for the locked account. Raises Invalid, WrongState, CreditNotPaidIn."""
    currency = body["currency"]
    credit_minor = ledger.account_credit(account.id, currency)
    payable_minor = payouts.payable_credit(account.id, currency)
    amount_minor = body["amount_minor"] or (credit_minor if body["force"] else payable_minor)
    if credit_minor <= 0 and not body["amount_minor"]:
        raise WrongState(detail="The account has no credit in this currency.")
    if amount_minor > credit_minor or credit_minor <= 0:
        raise Invalid(errors={"amount_minor": ["The account does not have that much credit."]})
    if not body["force"] and (amount_minor > payable_minor or not amount_minor):
        raise CreditNotPaidIn(payable_minor=payable_minor)
    payments = [] if body["method"] == "bank_transfer" else _list_refundable_payments(account.id, currency)
    refundable = [payment.refundable_minor for payment in payments]
    parts, rest_minor = divide_payout(amount_minor, refundable, charge_step_minor(currency))
    if rest_minor and body["method"] == "refund":
        if body["amount_minor"] is None:
            raise Invalid(errors={"method": ["Must not be refund: not all of it can be refunded to payments."]})
        raise Invalid(
            errors={"amount_minor": ["Must not exceed what can still be refunded of the account's payments."]}
        )
    refunds = [(payment, part) for payment, part in zip(payments, parts, strict=True) if part]
    return PayoutPlan(amount_minor, max(0, amount_minor - payable_minor), refunds, rest_minor)


def lock_payout_account(account_id: str) -> Account:
    """Return the account under its lock. Raises NotFound."""
    account = lock_row(Account, account_id)
    if account is None:
        raise NotFound
    return account


def _record_payout(account_id: str, body: PayoutInput, operator_id: str, now: datetime) -> Payout:
    """Record the payout, take its amount from the account's credit, and record its refunds, about to be sent."""
    account = lock_payout_account(account_id)
    plan = plan_payout(account, body)
    payout = Payout(
        id=new_id("pyo"),
        account_id=account.id,
        currency=body["currency"],
        amount_minor=plan.amount_minor,
        paid_minor=0,
        forced_minor=plan.forced_minor,
        status="pending",
        bank_transfer_minor=plan.bank_transfer_minor,
        reference=body["reference"],
        reason=body["reason"],
        created_by=operator_id,
        created_at=now,
    )
    if plan.bank_transfer_minor:
        payout.bank_transfer_status = "paid" if body["reference"] else "pending"
    db.session.add(payout)
    db.session.flush()
    for payment, part_minor in plan.refunds:
        refund = refunds.record_refund(payment, part_minor, None, body["reason"], now, payout.id)
        refunds.enqueue_reconciliation(refund, now)
        payouts.post_payout(payout, part_minor, now, payment.id)
    if plan.bank_transfer_minor:
        payouts.post_payout(payout, plan.bank_transfer_minor, now)
        referrals.enqueue_revocation_if_rewarded(account.id, payout.id, now)
    payouts.update_payout(payout, now)
    return payout


def _list_refundable_payments(account_id: str, currency: str) -> list[Payment]:
    """List the account's payments that the provider can refund in part or in full, newest first."""
    refundable = Payment.amount_minor - Payment.refunded_minor - Payment.disputed_minor
    conditions = (
        Payment.account_id == account_id,
        Payment.currency == currency,
        Payment.status == "succeeded",
        Payment.provider == current_provider().name,
        Payment.provider_reference.is_not(None),
        refundable > 0,
    )
    return list(db.session.scalars(sa.select(Payment).where(*conditions).order_by(Payment.id.desc())))


def _list_refunds(payout_id: str) -> Sequence[Refund]:
    return db.session.scalars(sa.select(Refund).where(Refund.payout_id == payout_id).order_by(Refund.id)).all()


def complete_bank_transfer(payout: Payout, status: str, reference: str | None, now: datetime) -> Payout:
    """Record that the bank transfer of a payout was made (`paid`), or that it failed, which gives the credit back.

    Raises WrongState unless it is pending.
    """
    account = lock_existing_row(Account, payout.account_id)
    db.session.refresh(payout)
    if payout.bank_transfer_status != "pending":
        raise WrongState(detail="This payout has no bank transfer that is still to be made.")
    payout.bank_transfer_status, payout.reference = status, reference or payout.reference
    if status == "failed":
        payouts.post_payout(payout, -payout.bank_transfer_minor, now)
        db.session.flush()
        apply_new_credit(account, payout.currency, now)
    payouts.update_payout(payout, now)
    return payout
