"""payouts: account credit that an operator pays out. Its parts are refunds of payments, and one bank transfer."""

from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from streamsvc.storage.database import Base, UtcTime, batching_session, db, new_id

if TYPE_CHECKING:
    from streamsvc.models.subscriptions.payments import Refund


class Payout(Base):
    __tablename__ = "payouts"
    __table_args__ = (
        sa.CheckConstraint("status IN ('pending', 'paid', 'partly_paid', 'failed')", name="status"),
        sa.CheckConstraint("bank_transfer_status IN ('pending', 'paid', 'failed')", name="bank_transfer_status"),
        sa.CheckConstraint("amount_minor > 0", name="amount"),
        sa.Index("ix_payouts_account_id", "account_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("pyo"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    currency: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    paid_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """What has reached the customer."""
    forced_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """The part of the amount that no money had come in for: it was forced by the operator."""
    status: Mapped[str] = mapped_column(default="pending")
    bank_transfer_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    bank_transfer_status: Mapped[str | None]
    """None without a bank transfer."""
    reference: Mapped[str | None]
    """The operator's reference of the bank transfer."""
    reason: Mapped[str]
    created_by: Mapped[str]
    """The operator or the API key."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)

    refunds: Mapped[list["Refund"]] = relationship(order_by="Refund.id", lazy="selectin", viewonly=True)

    @classmethod
    def exists_for(cls, account_id: str) -> bool:
        """Whether credit of the account was ever paid out."""
        payouts = batching_session().preloaded(cls.account_id, account_id)
        if payouts is None:
            return db.session.scalar(sa.select(cls.id).where(cls.account_id == account_id).limit(1)) is not None
        return bool(payouts)

    @classmethod
    def sum_forced(cls, account_id: str, currency: str) -> int:
        """Sum up what operators forced, in minor units; not of payouts that failed."""
        is_counted = cls.account_id == account_id, cls.currency == currency, cls.status != "failed"
        forced = sa.select(sa.func.coalesce(sa.func.sum(cls.forced_minor), 0)).where(*is_counted)
        return int(db.session.scalars(forced).one())
