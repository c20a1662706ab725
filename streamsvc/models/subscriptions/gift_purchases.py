"""gift_purchases: gifts that viewers buy; the code exists once the invoice is paid."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from streamsvc.models.subscriptions.invoices import Invoice
from streamsvc.models.subscriptions.offers import GiftCode
from streamsvc.rules.billing.gifts import purchase_state
from streamsvc.storage.database import Base, UtcTime, db, new_id
from streamsvc.storage.owned import OwnedByAccount


class GiftPurchase(OwnedByAccount, Base):
    """A gift of account credit, or of `periods` periods of a price, and to whom its code is mailed on which day."""

    __tablename__ = "gift_purchases"
    __table_args__ = (
        sa.CheckConstraint("revoked_for IN ('refund', 'dispute')", name="revoked_for"),
        sa.Index("ix_gift_purchases_account_id", "account_id", "id"),
        sa.Index("uq_gift_purchases_invoice_id", "invoice_id", unique=True),
        sa.Index("uq_gift_purchases_gift_code_id", "gift_code_id", unique=True),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("gpu"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    """The buyer."""
    invoice_id: Mapped[str] = mapped_column(sa.ForeignKey("invoices.id"))
    gift_code_id: Mapped[str | None] = mapped_column(sa.ForeignKey("gift_codes.id"))
    """None until the invoice is paid."""
    currency: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    """The value of the code as account credit."""
    price_id: Mapped[str | None] = mapped_column(sa.ForeignKey("prices.id"))
    periods: Mapped[int | None]
    recipient_email: Mapped[str | None]
    """None: the buyer gets the mail."""
    recipient_name: Mapped[str | None]
    sender_name: Mapped[str | None]
    message: Mapped[str | None]
    deliver_on: Mapped[date]
    """A day in the buyer's time zone."""
    deliveries: Mapped[int] = mapped_column(default=0)
    """How many mails with the code were sent."""
    delivered_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the first mail was sent."""
    revoked_for: Mapped[str | None]
    """Why the code was revoked: the purchase was refunded, or its payment disputed."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    invoice: Mapped[Invoice] = relationship()
    gift_code: Mapped[GiftCode | None] = relationship()

    @classmethod
    def find_by_invoice(cls, invoice: Invoice) -> "GiftPurchase | None":
        """Find the purchase that the invoice is for; None if it is for something else."""
        if invoice.reason != GIFT_REASON:
            return None
        return db.session.scalar(sa.select(cls).where(cls.invoice_id == invoice.id))

    def state(self, now: datetime) -> str:
        """Return the state of the purchase; see `purchase_state`."""
        code = self.gift_code
        if code is None:
            return purchase_state(is_void=self.invoice.status == "void")
        return purchase_state(
            is_paid=True,
            is_redeemed=code.redeemed_at is not None,
            revoked_for=self.revoked_for,
            is_expired=code.expires_at is not None and code.expires_at <= now,
            is_delivered=self.delivered_at is not None,
        )


GIFT_REASON = "gift"
"""The reason of the invoice of a gift purchase."""
