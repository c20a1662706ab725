"""Every movement of money, written twice, in the transaction of what it tells of."""

from datetime import datetime

from streamsvc.database import db, new_id
from streamsvc.models.subscriptions import Invoice, LedgerEntry


def post(kind: str, of: Invoice, now: datetime, payment_id: str | None = None, **books: int) -> None:
    """One journal about an invoice: debits positive, credits negative; the sum must be zero."""
    post_for(of.account_id, of.currency, kind, now, of.id, payment_id, **books)


def post_for(
    account_id: str,
    currency: str,
    kind: str,
    now: datetime,
    invoice_id: str | None = None,
    payment_id: str | None = None,
    note: str | None = None,
    **books: int,
) -> None:
    if sum(books.values()):
        raise ValueError(f"{kind} of {account_id} does not balance: {books}")
    journal_id = new_id("jou")
    for book, amount_minor in books.items():
        if amount_minor:
            db.session.add(
                LedgerEntry(
                    journal_id=journal_id,
                    kind=kind,
                    account_id=account_id,
                    book=book,
                    currency=currency,
                    amount_minor=amount_minor,
                    invoice_id=invoice_id,
                    payment_id=payment_id,
                    note=note,
                    at=now,
                )
            )


def account_credit(account_id: str, currency: str) -> int:
    """What we owe the customer, to be taken off the next invoice."""
    db.session.flush()
    return -LedgerEntry.balance(account_id, "customer_credit", currency)
