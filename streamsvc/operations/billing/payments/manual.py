"""Manual payments: a customer pays an open or uncollectible invoice, or an operator records money that came in."""

from datetime import datetime

from streamsvc.gateways.payments import charge_step_minor, minimum_charge_minor
from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment
from streamsvc.models.subscriptions.payments import EXTERNAL_PROVIDER
from streamsvc.operations.billing.core import (
    carryover,
    charging,
    debts,
    method_selection,
    payment_limits,
    payment_outcomes,
    voiding,
)
from streamsvc.operations.billing.core.aggregate import load_locked, update_live_subscription
from streamsvc.operations.billing.invoices.corrections import lock_invoice
from streamsvc.operations.billing.subscriptions.first_payment import get_requested_method, raise_if_not_paid
from streamsvc.rules.billing.inputs import RecordedPaymentInput
from streamsvc.rules.refusals.billing import AmountTooSmall, InvoiceNotOpen, PaymentFailed, PaymentInProgress
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.database import db, lock_existing_row, new_id, reload_row


def pay_open_invoice(invoice_id: str, method_id: str | None, amount_minor: int | None, now: datetime) -> Payment:
    """Charge `amount_minor` of what is owed on the invoice; default: all of it. Commits.

    Raises InvoiceNotOpen, AmountTooSmall, PaymentInProgress, Invalid, PaymentFailed, AuthenticationRequired.
    """
    if checkpoint := idempotency.load_checkpoint():
        return require_paid(charging.resume_payment(checkpoint["payment"]))
    charging.refresh_waiting_payments(db.session.get_one(Invoice, invoice_id).account_id, now)
    account = lock_existing_row(Account, db.session.get_one(Invoice, invoice_id).account_id)
    invoice = reload_row(Invoice, invoice_id)
    owed_minor = get_owed_amount(invoice)
    check_part(invoice, amount_minor, owed_minor)
    is_part = amount_minor is not None and amount_minor < owed_minor
    if amount_minor and is_part:
        require_chargeable_part(amount_minor, invoice.currency)
    charged_minor = amount_minor if amount_minor and is_part else carryover.chargeable_amount(invoice, owed_minor)
    if charged_minor < minimum_charge_minor(invoice.currency):
        raise AmountTooSmall
    in_flight = [payment for payment in invoice.payments if payment.is_in_flight]
    if any(payment.status != "requires_action" for payment in in_flight):
        raise PaymentInProgress
    method = get_requested_method(account, method_id) if method_id else method_selection.select_invoice_method(invoice)
    if method is None:
        raise PaymentFailed(decline_code=payment_limits.PAYMENT_METHOD_REQUIRED)
    for payment in in_flight:  # a new attempt replaces one that awaits authentication
        voiding.abandon_payment(payment, now)
    db.session.flush()
    payment = charging.create_payment(invoice, method, now, on_session=True, amount_minor=charged_minor)
    idempotency.save_checkpoint(payment=payment.id)
    db.session.commit()
    return require_paid(charging.send_payment(payment.id))


def get_owed_amount(invoice: Invoice) -> int:
    """Return the invoice's balance, or the amount written off on it. Raises InvoiceNotOpen if it cannot be paid."""
    owed_minor = debts.written_off_amount(invoice) if invoice.status == "uncollectible" else invoice.balance_minor
    if invoice.status not in ("open", "uncollectible") or owed_minor <= 0:
        raise InvoiceNotOpen
    return owed_minor


def check_part(invoice: Invoice, amount_minor: int | None, owed_minor: int) -> None:
    """Raise Invalid if the amount is more than is owed, or a part of what takes effect only if it is paid in full."""
    if amount_minor is None or amount_minor == owed_minor:
        return
    if amount_minor > owed_minor:
        raise Invalid(errors={"amount_minor": ["Must not exceed what is owed on this invoice."]})
    if invoice.issued_at is None:
        raise Invalid(errors={"amount_minor": ["Must be all that is owed: what it pays for takes effect only then."]})


def require_chargeable_part(amount_minor: int, currency: str) -> None:
    """Raise Invalid unless the provider can charge exactly this part of an invoice."""
    step_minor = charge_step_minor(currency)
    if amount_minor % step_minor:
        raise Invalid(errors={"amount_minor": [f"Must be a multiple of {step_minor}, or all that is owed."]})


def record_external_payment(invoice_id: str, body: RecordedPaymentInput, now: datetime) -> Payment:
    """Record a payment of all or a part of an invoice that came in outside the provider, such as by bank transfer.

    Raises InvoiceNotOpen, PaymentInProgress, Invalid.
    """
    account, invoice = lock_invoice(invoice_id)
    owed_minor = get_owed_amount(invoice)
    check_part(invoice, body["amount_minor"], owed_minor)
    if any(payment.is_in_flight for payment in invoice.payments):
        raise PaymentInProgress
    payment = Payment(
        id=new_id("pay"),
        account_id=invoice.account_id,
        invoice_id=invoice.id,
        status="succeeded",
        on_session=False,
        currency=invoice.currency,
        amount_minor=body["amount_minor"] or owed_minor,
        provider=EXTERNAL_PROVIDER,
        reference=body["reference"],
        created_at=now,
        settled_at=now,
    )
    invoice.payments.append(payment)
    db.session.flush()
    aggregate = load_locked(invoice.subscription_id, now) if invoice.subscription_id else None
    payment_outcomes.publish_payment_event(payment, invoice, now)
    payment_outcomes.record_success(payment, invoice, now, aggregate)
    if aggregate:
        aggregate.save_projection()
    update_live_subscription(account, now)
    return payment


def require_paid(payment: Payment) -> Payment:
    """Return the payment if it succeeded. Raises PaymentFailed, AuthenticationRequired."""
    raise_if_not_paid(payment)
    return payment
