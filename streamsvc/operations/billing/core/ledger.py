"""The double-entry ledger: every movement of money is posted in the same transaction as its cause."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.models.subscriptions import Invoice, LedgerEntry
from streamsvc.models.subscriptions.ledger import cash_moved
from streamsvc.storage.commit_signals import send_after_commit
from streamsvc.storage.database import batching_session, db, new_id

KEPT_BOOKS = ("cash", "receivable", "written_off")
"""What came in and did not go back, what is owed, and what was owed once."""


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
    """Post one journal for an account; see `post_journal`. Raises ValueError if the books do not balance."""
    if sum(books.values()):
        raise ValueError(f"{kind} of {account_id} does not balance: {books}")
    entry = {"journal_id": new_id("jou"), "kind": kind, "account_id": account_id, "currency": currency, "at": now}
    entry |= {"invoice_id": invoice_id, "payment_id": payment_id, "note": note}
    rows = [entry | {"book": book, "amount_minor": amount} for book, amount in books.items() if amount]
    if rows:
        batching_session().insert_rows(LedgerEntry, rows)
    if cash := books.get("cash"):
        send_after_commit(cash_moved, kind=kind, currency=currency, amount_minor=cash)


def sum_invoice_entries(invoice_id: str, book: str) -> int:
    """Return the sum of an invoice's entries in one book, in minor units."""
    conditions = sa.and_(LedgerEntry.invoice_id == invoice_id, LedgerEntry.book == book)
    entries = sa.select(sa.func.coalesce(sa.func.sum(LedgerEntry.amount_minor), 0)).where(conditions)
    return int(db.session.scalars(entries).one())


def sum_money_kept(account_id: str, currency: str) -> int:
    """Return what the account has paid and not got back, with what it owes or owed once, in minor units."""
    return sum(LedgerEntry.balance(account_id, book, currency) for book in KEPT_BOOKS)


def account_credit(account_id: str, currency: str) -> int:
    """Return the account's unused credit in minor units; it is applied to the next invoice."""
    entries = batching_session().preloaded(LedgerEntry.account_id, account_id)
    if entries is None:
        entries = sum_credit_entries([account_id])
    credit = [entry for entry in entries if (entry["book"], entry["currency"]) == ("customer_credit", currency)]
    return -sum(entry["amount_minor"] for entry in credit)


def sum_credit_entries(account_ids: list[str]) -> list[dict]:
    """Sum the accounts' entries of the book `customer_credit`: one entry in place of all of an account and currency."""
    rows = db.session.execute(
        sa.select(LedgerEntry.account_id, LedgerEntry.currency, sa.func.sum(LedgerEntry.amount_minor))
        .where(LedgerEntry.account_id.in_(account_ids), LedgerEntry.book == "customer_credit")
        .group_by(LedgerEntry.account_id, LedgerEntry.currency)
    )
    names = ("book", "account_id", "currency", "amount_minor")
    # PostgreSQL sums big integers to a decimal
    return [dict(zip(names, ("customer_credit", *key, int(amount)), strict=True)) for *key, amount in rows]
