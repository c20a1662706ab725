"""ledger_entries: double entry, written in the transaction of the change. Each journal sums to zero."""

from datetime import datetime

import sqlalchemy as sa
from blinker import Signal
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, db, new_id

BOOKS = (
    "receivable",  # owed by customers on invoices
    "customer_credit",  # owed to customers: account credit
    "revenue",
    "tax",
    "cash",  # held by the provider for us
    "goodwill",  # credit given away: promotions, gifts, apologies
    "written_off",
)

cash_moved = Signal()
"""Sent after a journal that moves cash is committed, with its `kind`, `currency` and `amount_minor` (out: negative)."""


class LedgerEntry(Base):
    __tablename__ = "ledger_entries"
    __table_args__ = (
        sa.CheckConstraint(sa.text("book IN ({})".format(", ".join(map(repr, BOOKS)))), name="book"),
        sa.Index("ix_ledger_entries_journal_id", "journal_id"),
        sa.Index("ix_ledger_entries_account_book", "account_id", "book", "currency", "id"),
        sa.Index("ix_ledger_entries_invoice_id", "invoice_id", "book"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("led"))
    journal_id: Mapped[str]
    kind: Mapped[str]
    """The kind of movement: invoice, credit_applied, payment, refund, credit, write_off, dispute, …"""
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    book: Mapped[str]
    currency: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    """Debits positive, credits negative."""
    invoice_id: Mapped[str | None] = mapped_column(sa.ForeignKey("invoices.id"))
    payment_id: Mapped[str | None] = mapped_column(sa.ForeignKey("payments.id"))
    note: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(UtcTime)

    @classmethod
    def balance(cls, account_id: str, book: str, currency: str) -> int:
        """Sum one book of an account; available credit is negative in `customer_credit`."""
        total = db.session.scalars(
            sa.select(sa.func.coalesce(sa.func.sum(cls.amount_minor), 0)).where(
                cls.account_id == account_id, cls.book == book, cls.currency == currency
            )
        ).one()
        return int(total)  # PostgreSQL sums bigints to a decimal
