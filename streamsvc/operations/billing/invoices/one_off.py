"""One-off charges: invoices created by an operator for something outside any subscription period."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from streamsvc.gateways.payments import maximum_charge_minor
from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice
from streamsvc.operations.billing.core import charging, computing, due_payments, invoice_creation, ledger
from streamsvc.operations.billing.core.aggregate import update_live_subscription
from streamsvc.operations.billing.core.taxing import load_taxation
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.inputs import OneOffInput
from streamsvc.rules.billing.invoicing import Position, compute_totals
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, lock_row, reload_row


@dataclass(frozen=True)
class OneOffLine:
    """A line without a period. Whether `amount_minor` includes tax is the operator's choice."""

    description: str
    amount_minor: int
    kind: ClassVar[str] = "one_off"


def create_one_off_charge(account_id: str, body: OneOffInput, now: datetime) -> Invoice:
    """Create a one-off invoice, apply account credit, and charge the rest to the account's payment method. Commits.

    A declined charge is a debt of the account: it is dunned, and suspends the access of its subscription, but does not
    end it. Raises NotFound, AccountNotActive, Invalid.
    """
    checkpoint = idempotency.load_checkpoint()
    if checkpoint is None:
        checkpoint = _create_one_off_invoice(account_id, body, now)
        idempotency.save_checkpoint(**checkpoint)
        db.session.commit()
    for payment_id in checkpoint["payments"]:
        charging.resume_payment(payment_id)
    return reload_row(Invoice, checkpoint["invoice"])


def _create_one_off_invoice(account_id: str, body: OneOffInput, now: datetime) -> dict:
    account = lock_row(Account, account_id)
    if account is None or account.is_guest:
        raise NotFound
    if account.status != "active":
        raise AccountNotActive(detail="Only an active account can be charged.")
    taxation, currency = load_taxation(account), body["currency"]
    line = OneOffLine(body["description"], body["amount_minor"])
    position = Position("0", line.amount_minor, taxation.tax_for(body["tax"] == "inclusive", body["tax_category"]))
    totals = compute_totals([position], (), ledger.account_credit(account_id, currency))
    if totals.amount_due_minor > maximum_charge_minor(currency):
        raise Invalid(errors={"amount_minor": ["Must not exceed what the payment provider charges at once."]})
    draft = computing.ComputedInvoice(account, None, currency, (line,), (), totals, taxation)
    invoice = invoice_creation.create_invoice(draft, "one_off", now, civil_day(now, account.time_zone))
    payments = due_payments.create_debt_payments([invoice], now)  # without a payment method, it counts as declined
    update_live_subscription(account, now)
    return {"invoice": invoice.id, "payments": [payment.id for payment in payments]}
