"""One-off charges: an invoice that an operator writes for something that belongs to no period of a subscription."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod
from streamsvc.operations.billing.core import charging, issuing, ledger
from streamsvc.operations.billing.core.taxing import load_taxation
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.invoicing import Position, total
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import db, lock_row
from streamsvc.worker import jobs


@dataclass(frozen=True)
class OneOffLine:
    """A line without a period; `amount_minor` holds its tax or not, as the operator says."""

    description: str
    amount_minor: int
    kind: ClassVar[str] = "one_off"


def create_one_off_charge(account_id: str, body: dict, now: datetime) -> Invoice:
    """Invoice it, pay it from account credit, and charge the rest to the account's card. Commits.

    What is declined stays owed: it is tried again as a renewal is, and the customer may pay it by hand; no
    subscription ends over it. Raises NotFound, AccountNotActive.
    """
    begun = idempotency.load_checkpoint()
    if begun is None:
        begun = _create_one_off_invoice(account_id, body, now)
        idempotency.save_checkpoint(**begun)
        db.session.commit()
    for payment_id in begun["payments"]:
        charging.resume_payment(payment_id)
    return db.session.get(Invoice, begun["invoice"], populate_existing=True)


def _create_one_off_invoice(account_id: str, body: dict, now: datetime) -> dict:
    account = lock_row(Account, account_id)
    if account is None:
        raise NotFound
    if account.status != "active":
        raise AccountNotActive(detail="Only an active account can be charged.")
    taxation, currency = load_taxation(account), body["currency"]
    line = OneOffLine(body["description"], body["amount_minor"])
    position = Position("0", line.amount_minor, taxation.tax_for(body["tax"] == "inclusive"))
    totals = total([position], (), ledger.account_credit(account_id, currency))
    draft = issuing.ComputedInvoice(account, None, currency, (line,), (), totals, taxation)
    invoice = issuing.create_invoice(draft, "one_off", now, civil_day(now, account.time_zone))
    return {"invoice": invoice.id, "payments": [payment.id for payment in create_one_off_payments(invoice, now)]}


def create_one_off_payments(invoice: Invoice, now: datetime, method: PaymentMethod | None = None) -> list[Payment]:
    """Record the payment of what is owed, to be sent once that is committed; none where there is no card.

    A `method` in hand is their owner's, who is there.
    """
    charged_to = method or charging.select_invoice_method(invoice)
    if invoice.attempts:  # credit that came while the last try was under way
        issuing.pay_open_invoices_from_credit(invoice.account_id, invoice.currency, now)
    if invoice.status != "open" or charged_to is None or any(one.is_in_flight for one in invoice.payments):
        return []
    return [charging.create_payment(invoice, charged_to, now, on_session=method is not None)]


def create_overdue_one_off_payments(method: PaymentMethod, now: datetime) -> list[Payment]:
    """The same of each that was declined, on a method that is new, or newly the default."""
    overdue = [one for one in issuing.list_open_invoices(method.account_id) if one.reason == "one_off" and one.attempts]
    return [payment for invoice in overdue for payment in create_one_off_payments(invoice, now, method)]


@jobs.job_handler(charging.COLLECT_JOB)
def retry_one_off_charge(payload: dict, now: datetime) -> None:
    """The next try of a one-off charge that was declined."""
    lock_row(Account, payload["account_id"])
    invoice = db.session.get(Invoice, payload["invoice_id"], populate_existing=True)
    due = invoice.next_attempt_on and invoice.next_attempt_on <= now.date()
    payments = [payment.id for payment in (create_one_off_payments(invoice, now) if due else ())]
    db.session.commit()
    for payment_id in payments:
        charging.send_payment(payment_id)
