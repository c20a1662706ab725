"""One-off charges: invoices created by an operator for something outside any subscription period."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from streamsvc.gateways.payments import maximum_charge_minor
from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod
from streamsvc.operations.billing.core import carryover, charging, issuing, ledger
from streamsvc.operations.billing.core.taxing import load_taxation
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.inputs import OneOffInput
from streamsvc.rules.billing.invoicing import Position, compute_totals
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, lock_row
from streamsvc.worker import jobs


@dataclass(frozen=True)
class OneOffLine:
    """A line without a period. Whether `amount_minor` includes tax is the operator's choice."""

    description: str
    amount_minor: int
    kind: ClassVar[str] = "one_off"


def create_one_off_charge(account_id: str, body: OneOffInput, now: datetime) -> Invoice:
    """Create a one-off invoice, apply account credit, and charge the rest to the account's payment method. Commits.

    A declined charge stays open: it is retried by the dunning schedule and the customer can pay it manually, but no
    subscription is canceled over it. Raises NotFound, AccountNotActive, Invalid.
    """
    checkpoint = idempotency.load_checkpoint()
    if checkpoint is None:
        checkpoint = _create_one_off_invoice(account_id, body, now)
        idempotency.save_checkpoint(**checkpoint)
        db.session.commit()
    for payment_id in checkpoint["payments"]:
        charging.resume_payment(payment_id)
    return db.session.get_one(Invoice, checkpoint["invoice"], populate_existing=True)


def _create_one_off_invoice(account_id: str, body: OneOffInput, now: datetime) -> dict:
    account = lock_row(Account, account_id)
    if account is None:
        raise NotFound
    if account.status != "active":
        raise AccountNotActive(detail="Only an active account can be charged.")
    taxation, currency = load_taxation(account), body["currency"]
    line = OneOffLine(body["description"], body["amount_minor"])
    position = Position("0", line.amount_minor, taxation.tax_for(body["tax"] == "inclusive"))
    totals = compute_totals([position], (), ledger.account_credit(account_id, currency))
    if totals.amount_due_minor > maximum_charge_minor(currency):
        raise Invalid(errors={"amount_minor": ["Must not exceed what the payment provider charges at once."]})
    draft = issuing.ComputedInvoice(account, None, currency, (line,), (), totals, taxation)
    invoice = issuing.create_invoice(draft, "one_off", now, civil_day(now, account.time_zone))
    return {"invoice": invoice.id, "payments": [payment.id for payment in create_one_off_payments(invoice, now)]}


def create_one_off_payments(invoice: Invoice, now: datetime, method: PaymentMethod | None = None) -> list[Payment]:
    """Record the payment of the invoice's balance, to be sent after the commit; none without a payment method.

    A balance too small to charge is carried over to the account's next payment.

    `method`: one that the customer has just provided, which makes the payment on-session.
    """
    charge_method = method or charging.select_invoice_method(invoice)
    if invoice.attempts:  # credit may have been granted while the last attempt was in flight
        issuing.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)
    if invoice.status != "open" or charge_method is None or any(payment.is_in_flight for payment in invoice.payments):
        return []
    return [
        charging.create_payment(chargeable, charge_method, now, on_session=method is not None)
        for chargeable in carryover.select_chargeable([invoice])
    ]


def create_overdue_one_off_payments(method: PaymentMethod, now: datetime) -> list[Payment]:
    """Record payments for all declined one-off charges, on a method that is new or the new default."""
    overdue = [
        invoice for invoice in Invoice.list_open(method.account_id) if invoice.reason == "one_off" and invoice.attempts
    ]
    return [payment for invoice in overdue for payment in create_one_off_payments(invoice, now, method)]


@jobs.job_handler(charging.COLLECT_JOB)
def retry_one_off_charge(payload: dict, now: datetime) -> None:
    """Retry a declined one-off charge."""
    lock_row(Account, payload["account_id"])
    invoice = db.session.get_one(Invoice, payload["invoice_id"], populate_existing=True)
    is_due = invoice.next_attempt_on and invoice.next_attempt_on <= now.date()
    payments = [payment.id for payment in (create_one_off_payments(invoice, now) if is_due else ())]
    db.session.commit()
    for payment_id in payments:
        charging.send_payment(payment_id)
