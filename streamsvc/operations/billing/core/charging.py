"""Charging: a payment is recorded, sent to the provider outside any transaction, and completed.

The record's id is the idempotency key at the provider. If the process dies in between, `reconcile_payment` looks the
payment up at the provider, and sends it again under the same key only if it never arrived.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.gateways.payments import current_provider
from streamsvc.gateways.payments.interface import (
    DECLINED,
    REQUIRES_ACTION,
    UNKNOWN,
    ChargeRequest,
    EventProvider,
    Outcome,
)
from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod, Refund
from streamsvc.operations.billing.core import carryover, charging_guard, payment_limits, payment_outcomes
from streamsvc.operations.billing.core.aggregate import collects_debts, load_locked, update_live_subscription
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage import session_guard
from streamsvc.storage.database import db, lock_existing_row, new_id, reload_row
from streamsvc.worker import jobs

RECONCILE_JOB = "payment.reconcile"
RECONCILE_AFTER = timedelta(seconds=30)
SEARCH_AFTER = timedelta(minutes=10)
"""A payment of unknown outcome that is older than this is searched for in the provider's records before a resend."""


def create_payment(
    invoice: Invoice, method: PaymentMethod, now: datetime, on_session: bool, amount_minor: int | None = None
) -> Payment:
    """Record a payment about to be sent, for `amount_minor`; default: the invoice's balance.

    It also covers the account's balances that were carried over: what exceeds the invoice's own becomes account credit
    when the payment succeeds, and pays them. Enqueues its reconciliation, which takes over if this process does not
    complete it. Raises ClockNotTrusted, ReconciliationPending.
    """
    charging_guard.require_charging_allowed()
    payment = Payment(
        id=new_id("pay"),
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        payment_method_id=method.id,
        status="pending",
        on_session=on_session,
        currency=invoice.currency,
        amount_minor=amount_minor or carryover.chargeable_amount(invoice, invoice.balance_minor),
        provider=method.provider,
        created_at=now,
    )
    invoice.payments.append(payment)
    db.session.flush()
    jobs.enqueue_job(RECONCILE_JOB, {"payment_id": payment.id}, now + RECONCILE_AFTER, f"reconcile {payment.id}")
    return payment


def send_payment(payment_id: str) -> Payment:
    """Send a recorded payment to the provider and complete it. Commits. Must not be called inside a transaction."""
    payment = db.session.get_one(Payment, payment_id)
    assert payment.method is not None, "only a payment through a provider is sent"
    invoice = db.session.get_one(Invoice, payment.invoice_id)
    amount = (payment.amount_minor, payment.currency)
    request = ChargeRequest(
        payment.id, payment.method.reference, *amount, payment.on_session, invoice.id, invoice.number
    )
    db.session.commit()
    session_guard.finish_even_if_signed_out()
    outcome = current_provider().charge(request)
    if outcome.status == UNKNOWN:  # the response may have been lost
        outcome = current_provider().find_outcome(payment_id) or outcome
    return complete_payment(payment_id, outcome, clock.now())


def resume_payment(payment_id: str) -> Payment:
    """Return the payment, sending it if its outcome is unknown. Its idempotency key prevents a second charge."""
    payment = db.session.get_one(Payment, payment_id)
    return send_payment(payment_id) if payment.status in ("pending", "unknown") else payment


def complete_payment(payment_id: str, outcome: Outcome, now: datetime) -> Payment:
    """Book the outcome of a payment. Idempotent. Commits."""
    account_id = db.session.scalar(sa.select(Payment.account_id).where(Payment.id == payment_id))
    account = lock_existing_row(Account, account_id)
    payment = reload_row(Payment, payment_id)
    was_waiting = payment.status == "requires_action"
    invoice = reload_row(Invoice, payment.invoice_id)
    aggregate = load_locked(invoice.subscription_id, now) if invoice.subscription_id else None
    payment_outcomes.book_outcome(payment, invoice, outcome, now, aggregate)
    if aggregate is None or not collects_debts(aggregate.subscription):
        update_live_subscription(account, now)
    db.session.commit()
    if was_waiting and payment.on_session and payment.status == "succeeded":
        payment_limits.refund_authenticated_payment(payment)
    return payment


def refresh_waiting_payments(account_id: str, now: datetime) -> None:
    """Update the account's payments that await the payer from the provider. Commits.

    The payer may have completed one whose event has not arrived: it must not be replaced. Must not be called inside a
    transaction.
    """
    waiting = sa.select(Payment).where(Payment.account_id == account_id, Payment.status == "requires_action")
    references = [(payment.id, payment.provider_reference) for payment in db.session.scalars(waiting)]
    provider = current_provider()
    if not references or not isinstance(provider, EventProvider):
        return
    db.session.commit()
    for payment_id, reference in references:
        outcome = provider.retrieve_outcome(reference) if reference else Outcome(UNKNOWN)
        if outcome.status not in (REQUIRES_ACTION, UNKNOWN):
            complete_payment(payment_id, outcome, now)


@jobs.job_handler(RECONCILE_JOB)
def reconcile_payment(payload: dict, now: datetime) -> None:
    """Look up the outcome of an unresolved payment at the provider and complete it.

    Raises Retry while it is unknown.
    """
    payment = db.session.get_one(Payment, payload["payment_id"])
    if not payment.is_in_flight or payment.status == "requires_action":
        return
    outcome = find_outcome(payment, now)
    payment = complete_payment(payload["payment_id"], outcome, now) if outcome else send_payment(payload["payment_id"])
    if payment.status == "unknown":
        raise jobs.Retry(now + RECONCILE_AFTER)


def find_outcome(record: Payment | Refund, now: datetime, charge_reference: str | None = None) -> Outcome | None:
    """Look up the outcome of an unresolved payment or refund at the provider. Commits.

    None means that the provider does not have it: send it again under its own idempotency key. `charge_reference`: for
    a refund, the provider's reference of the payment.
    """
    record_id, is_old, reference = record.id, record.created_at < now - SEARCH_AFTER, record.provider_reference
    method = (record.payment if isinstance(record, Refund) else record).method
    assert method is not None, "only a payment through a provider has an outcome there"
    method_reference, provider = method.reference, current_provider()
    db.session.commit()
    if reference and charge_reference is None and isinstance(provider, EventProvider):
        return provider.retrieve_outcome(reference)
    if is_old:
        return provider.search_outcome(record_id, method_reference, charge_reference)
    return provider.find_outcome(record_id)


@jobs.job_handler(payment_outcomes.EXPIRE_JOB)
def expire_payment(payload: dict, now: datetime) -> None:
    """Cancel a payment that the payer never authenticated, and decline it unless the provider has another outcome.

    Raises Retry while the provider is unavailable.
    """
    payment = db.session.get_one(Payment, payload["payment_id"])
    if payment.status != "requires_action":
        return
    reference = payment.provider_reference
    db.session.commit()
    outcome = current_provider().cancel_charge(reference) if reference else Outcome(DECLINED)
    if outcome.status == UNKNOWN:
        raise jobs.Retry(now + RECONCILE_AFTER)
    if outcome.status == DECLINED:
        outcome = Outcome(DECLINED, outcome.reference, "authentication_abandoned")
    complete_payment(payload["payment_id"], outcome, now)


def complete_sandbox_authentication(payment_id: str, approve: bool, now: datetime) -> Payment:
    """Complete a payment with the sandbox bank's authentication result. Raises NotFound."""
    payment = db.session.get(Payment, payment_id)
    if payment is None or payment.status != "requires_action":
        raise NotFound
    db.session.commit()
    if (outcome := SandboxProvider().authenticate(payment_id, approve)) is None:
        raise NotFound
    return complete_payment(payment_id, outcome, now)
