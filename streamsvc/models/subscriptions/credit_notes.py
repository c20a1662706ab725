"""credit_notes: corrections of issued invoices; documents with numbers of their own."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from streamsvc.storage.database import Base, UtcTime, new_id


class CreditNote(Base):
    __tablename__ = "credit_notes"
    __table_args__ = (
        sa.Index("ix_credit_notes_invoice_id", "invoice_id", "id"),
        sa.Index("ix_credit_notes_account_id", "account_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("crn"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    invoice_id: Mapped[str] = mapped_column(sa.ForeignKey("invoices.id"))
    number: Mapped[str] = mapped_column(unique=True)
    currency: Mapped[str]
    reason: Mapped[str | None]
    net_minor: Mapped[int] = mapped_column(sa.BigInteger)
    tax_minor: Mapped[int] = mapped_column(sa.BigInteger)
    total_minor: Mapped[int] = mapped_column(sa.BigInteger)
    issued_at: Mapped[datetime] = mapped_column(UtcTime)

    lines: Mapped[list["CreditNoteLine"]] = relationship(order_by="CreditNoteLine.line_id", lazy="selectin")


class CreditNoteLine(Base):
    __tablename__ = "credit_note_lines"
    __table_args__ = (sa.Index("ix_credit_note_lines_line_id", "line_id"),)

    credit_note_id: Mapped[str] = mapped_column(sa.ForeignKey("credit_notes.id"), primary_key=True)
    line_id: Mapped[str] = mapped_column(sa.ForeignKey("invoice_lines.id"), primary_key=True)
    net_minor: Mapped[int] = mapped_column(sa.BigInteger)
    """Part of the line's amount after discount; includes the tax if the price does."""
    tax_minor: Mapped[int] = mapped_column(sa.BigInteger)
