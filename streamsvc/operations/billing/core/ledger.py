"""The double-entry ledger: every movement of money is posted in the same transaction as its cause."""

from collections import Counter
from datetime import datetime

import sqlalchemy as sa

from streamsvc.models.subscriptions import Invoice, LedgerEntry
from streamsvc.storage import unit_of_work
from streamsvc.storage.database import db, new_id


def post_journal(kind: str, invoice: Invoice, now: datetime, payment_id: str | None = None, **books: int) -> None:
    """Post one journal for an invoice: debits positive, credits negative, summing to zero.

    `books`: the amount for each book, in minor units. Raises ValueError if they do not balance.
    """
    post_account_journal(invoice.account_id, invoice.currency, kind, now, invoice.id, payment_id, None, **books)


def post_account_journal(
    account_id: str,
    currency: str,
    kind: str,
    now: datetime,
    invoice_id: str | None = None,
    payment_id: str | None = None,
    note: str | None = None,
    **books: int,
) -> None:
    """Post one journal for an account; see `post_journal`."""
    if sum(books.values()):
        raise ValueError(f"{kind} of {account_id} does not balance: {books}")
    entry = {"journal_id": new_id("jou"), "kind": kind, "account_id": account_id, "currency": currency, "at": now}
    entry |= {"invoice_id": invoice_id, "payment_id": payment_id, "note": note}
    rows = [entry | {"book": book, "amount_minor": amount} for book, amount in books.items() if amount]
    if rows:
        unit_of_work.add_rows(LedgerEntry, rows)
    credit = unit_of_work.cached(("credit", account_id))
    if credit is not None:
        credit[currency] -= books.get("customer_credit", 0)


def sum_invoice_entries(invoice_id: str, book: str) -> int:
    """Return the sum of an invoice's entries in one book, in minor units."""
    conditions = sa.and_(LedgerEntry.invoice_id == invoice_id, LedgerEntry.book == book)
    entries = sa.select(sa.func.coalesce(sa.func.sum(LedgerEntry.amount_minor), 0)).where(conditions)
    return int(db.session.scalars(entries).one())


def account_credit(account_id: str, currency: str) -> int:
    """Return the account's unused credit in minor units; it is applied to the next invoice."""
    credits = unit_of_work.get_or_load(("credit", account_id), lambda: load_account_credits([account_id])[account_id])
    return credits[currency]


def load_account_credits(account_ids: list[str]) -> dict[str, Counter]:
    """Load the credit of each account, by currency, in minor units."""
    db.session.flush()
    credits: dict[str, Counter] = {account_id: Counter() for account_id in account_ids}
    rows = db.session.execute(
        sa.select(LedgerEntry.account_id, LedgerEntry.currency, -sa.func.sum(LedgerEntry.amount_minor))
        .where(LedgerEntry.account_id.in_(account_ids), LedgerEntry.book == "customer_credit")
        .group_by(LedgerEntry.account_id, LedgerEntry.currency)
    )
    for account_id, currency, amount in rows:
        credits[account_id][currency] = int(amount)  # PostgreSQL sums big integers to a decimal
    return credits
