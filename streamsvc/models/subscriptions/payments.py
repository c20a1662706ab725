"""payments and refunds: recorded before they are sent, completed after; an unknown outcome is a state."""

from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from blinker import Signal
from sqlalchemy.orm import Mapped, mapped_column, relationship

from streamsvc.storage.database import Base, Json, UtcTime, db, new_id

if TYPE_CHECKING:
    from streamsvc.models.subscriptions.methods import PaymentMethod

IN_FLIGHT_STATUSES = ("pending", "unknown", "requires_action")
EXTERNAL_PROVIDER = "external"
"""The provider of payments that operators record; the money came and goes without our doing."""
IN_FLIGHT_CONDITION = f"status IN {IN_FLIGHT_STATUSES}"

payment_finished = Signal()
"""Sent after the end of a payment is committed, with its `status` (succeeded, failed) and `currency`."""


class Payment(Base):
    """One attempt to collect an invoice. Its id is the idempotency key at the provider."""

    __tablename__ = "payments"
    __table_args__ = (
        sa.CheckConstraint(
            "status IN ('pending', 'unknown', 'requires_action', 'succeeded', 'failed', 'disputed')", name="status"
        ),
        sa.Index(
            "uq_payments_in_flight",
            "invoice_id",
            unique=True,
            sqlite_where=sa.text(IN_FLIGHT_CONDITION),
            postgresql_where=sa.text(IN_FLIGHT_CONDITION),
        ),
        sa.Index("ix_payments_invoice_id", "invoice_id", "id"),
        sa.Index("ix_payments_account_id", "account_id", "id"),
        sa.Index("ix_payments_provider_reference", "provider_reference"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("pay"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    invoice_id: Mapped[str] = mapped_column(sa.ForeignKey("invoices.id"))
    payment_method_id: Mapped[str | None] = mapped_column(sa.ForeignKey("payment_methods.id"))
    """None: received outside the payment provider, such as by bank transfer."""
    status: Mapped[str]
    on_session: Mapped[bool]
    """Whether the customer is present and can authenticate."""
    currency: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    requested_minor: Mapped[int | None] = mapped_column(sa.BigInteger)
    """The amount that was asked for, if the provider captured less."""
    reference: Mapped[str | None]
    """What the operator noted on a payment received outside the provider."""
    refunded_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    disputed_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """The amount under dispute, at most what was left of the payment."""
    provider: Mapped[str]
    provider_reference: Mapped[str | None]
    decline_code: Mapped[str | None]
    next_action: Mapped[dict | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)

    method: Mapped["PaymentMethod | None"] = relationship()

    @classmethod
    def find_owned(cls, account_id: str, invoice_id: str, payment_id: str) -> "Payment | None":
        """Find a payment of one of the account's invoices."""
        conditions = (cls.id == payment_id, cls.invoice_id == invoice_id, cls.account_id == account_id)
        return db.session.scalar(sa.select(cls).where(*conditions))

    @classmethod
    def is_owned(cls, account_id: str, payment_id: str) -> bool:
        """Whether a payment is one of the account's."""
        query = sa.select(cls.id).where(cls.id == payment_id, cls.account_id == account_id)
        return db.session.scalar(query) is not None

    @property
    def is_in_flight(self) -> bool:
        return self.status in IN_FLIGHT_STATUSES

    @property
    def refundable_minor(self) -> int:
        """The amount neither refunded nor disputed."""
        return self.amount_minor - self.refunded_minor - self.disputed_minor


class Refund(Base):
    __tablename__ = "refunds"
    __table_args__ = (
        sa.CheckConstraint("status IN ('pending', 'unknown', 'succeeded', 'failed')", name="status"),
        sa.Index("ix_refunds_payment_id", "payment_id", "id"),
        sa.Index("ix_refunds_credit_note_id", "credit_note_id"),
        sa.Index(
            "ix_refunds_payout_id",
            "payout_id",
            sqlite_where=sa.text("payout_id IS NOT NULL"),
            postgresql_where=sa.text("payout_id IS NOT NULL"),
        ),
        sa.Index("uq_refunds_provider_reference", "provider_reference", unique=True),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("ref"))
    payment_id: Mapped[str] = mapped_column(sa.ForeignKey("payments.id"))
    invoice_id: Mapped[str] = mapped_column(sa.ForeignKey("invoices.id"))
    credit_note_id: Mapped[str | None] = mapped_column(sa.ForeignKey("credit_notes.id"))
    """The credit note that it pays out; without one, the invoice is owed again."""
    payout_id: Mapped[str | None] = mapped_column(sa.ForeignKey("payouts.id"))
    """The payout of account credit that it is a part of; it then does not concern the invoice."""
    status: Mapped[str]
    currency: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    reason: Mapped[str | None]
    provider_reference: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)

    payment: Mapped["Payment"] = relationship()

    @classmethod
    def sum_credited_in_flight(cls, invoice_id: str) -> int:
        """Return the amount that refunds of the invoice which pay out a credit note are about to return."""
        in_flight = cls.status.in_(("pending", "unknown")), cls.credit_note_id.is_not(None)
        amounts = sa.select(sa.func.coalesce(sa.func.sum(cls.amount_minor), 0)).join(Payment)
        return int(db.session.scalars(amounts.where(Payment.invoice_id == invoice_id, *in_flight)).one())


class ProviderEvent(Base):
    """A provider event, stored once under its id, in the transaction that enqueues its job."""

    __tablename__ = "provider_events"

    id: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str]
    kind: Mapped[str]
    reference: Mapped[str | None]
    """The PaymentIntent or charge that it is about; its current state counts, not the event's content."""
    received_at: Mapped[datetime] = mapped_column(UtcTime)
    done_at: Mapped[datetime | None] = mapped_column(UtcTime)
