"""One-off charges: an invoice that an operator writes for something that belongs to no period of a subscription."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from streamsvc.http import idempotency
from streamsvc.models import Account
from streamsvc.models.subscriptions import Invoice, Payment, PaymentMethod
from streamsvc.operations.billing.core import charging, issuing, ledger
from streamsvc.operations.billing.core.taxing import taxation_of
from streamsvc.rules.billing.calendar import civil_day
from streamsvc.rules.billing.invoicing import Position, total
from streamsvc.rules.refusals.accounts import AccountNotActive
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import db, lock
from streamsvc.worker import jobs


@dataclass(frozen=True)
class OneOff:
    """A line without a period; `amount_minor` holds its tax or not, as the operator says."""

    description: str
    amount_minor: int
    kind: ClassVar[str] = "one_off"


def charge(account_id: str, asked: dict, now: datetime) -> Invoice:
    """Invoice it, pay it from account credit, and charge the rest to the account's card. Commits.

    What is declined stays owed: it is tried again as a renewal is, and the customer may pay it by hand; no
    subscription ends over it. Raises NotFound, AccountNotActive.
    """
    begun = idempotency.begun()
    if begun is None:
        begun = _write(account_id, asked, now)
        idempotency.begin(**begun)
        db.session.commit()
    for payment_id in begun["payments"]:
        charging.resume(payment_id)
    return db.session.get(Invoice, begun["invoice"], populate_existing=True)


def _write(account_id: str, asked: dict, now: datetime) -> dict:
    account = lock(Account, account_id)
    if account is None:
        raise NotFound
    if account.status != "active":
        raise AccountNotActive(detail="Only an active account can be charged.")
    taxation, currency = taxation_of(account), asked["currency"]
    line = OneOff(asked["description"], asked["amount_minor"])
    position = Position("0", line.amount_minor, taxation.on(asked["tax"] == "inclusive"))
    totals = total([position], (), ledger.account_credit(account_id, currency))
    draft = issuing.Draft(account, None, currency, (line,), (), totals, taxation)
    invoice = issuing.issue(draft, "one_off", now, civil_day(now, account.time_zone))
    return {"invoice": invoice.id, "payments": [payment.id for payment in collect(invoice, now)]}


def collect(invoice: Invoice, now: datetime, method: PaymentMethod | None = None) -> list[Payment]:
    """Record the payment of what is owed, to be sent once that is committed; none where there is no card.

    A `method` in hand is their owner's, who is there.
    """
    charged_to = method or charging.method_for(invoice)
    if invoice.attempts:  # credit that came while the last try was under way
        issuing.spend_credit(invoice.account_id, invoice.currency, now)
    if invoice.status != "open" or charged_to is None or any(one.is_in_flight for one in invoice.payments):
        return []
    return [charging.record(invoice, charged_to, now, on_session=method is not None)]


def collect_overdue(method: PaymentMethod, now: datetime) -> list[Payment]:
    """The same of each that was declined, on a method that is new, or newly the default."""
    overdue = [one for one in issuing.open_invoices(method.account_id) if one.reason == "one_off" and one.attempts]
    return [payment for invoice in overdue for payment in collect(invoice, now, method)]


@jobs.handler(charging.COLLECT_JOB)
def try_again(payload: dict, now: datetime) -> None:
    """The next try of a one-off charge that was declined."""
    lock(Account, payload["account_id"])
    invoice = db.session.get(Invoice, payload["invoice_id"], populate_existing=True)
    due = invoice.next_attempt_on and invoice.next_attempt_on <= now.date()
    payments = [payment.id for payment in (collect(invoice, now) if due else ())]
    db.session.commit()
    for payment_id in payments:
        charging.send(payment_id)
