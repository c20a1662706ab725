"""payment_methods: what can be charged, by the provider's reference; card numbers are never stored.

provider_customers: the customer at the provider to which an account's methods belong.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, batching_session, db, new_id
from streamsvc.storage.owned import OwnedByAccount


class PaymentMethod(OwnedByAccount, Base):
    __tablename__ = "payment_methods"
    __table_args__ = (
        sa.Index("ix_payment_methods_account_id", "account_id", "id"),
        sa.Index("ix_payment_methods_fingerprint", "fingerprint"),
        sa.Index("ix_payment_methods_reference", "reference"),
        sa.Index(
            "uq_payment_methods_default",
            "account_id",
            unique=True,
            sqlite_where=sa.text("is_default"),
            postgresql_where=sa.text("is_default"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("pme"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    provider: Mapped[str]
    reference: Mapped[str]
    kind: Mapped[str]
    brand: Mapped[str | None]
    last4: Mapped[str | None]
    exp_month: Mapped[int | None]
    exp_year: Mapped[int | None]
    fingerprint: Mapped[str | None]
    """Identifies the card across accounts: each card gets one trial."""
    is_default: Mapped[bool] = mapped_column(default=False)
    set_up_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the customer's bank authorized charges for which the customer is not present; None: not yet."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)

    def is_same_card(self, other: "PaymentMethod") -> bool:
        """Whether both are the same card, perhaps added twice."""
        return self.id == other.id or (self.fingerprint is not None and self.fingerprint == other.fingerprint)

    @classmethod
    def list_active(cls, account_id: str) -> "list[PaymentMethod]":
        """List the account's payment methods that are not removed."""
        methods = batching_session().preloaded(cls.account_id, account_id)
        return list(db.session.scalars(cls.select_owned(account_id)) if methods is None else methods)

    @classmethod
    def find_default(cls, account_id: str) -> "PaymentMethod | None":
        """Find the account's default payment method."""
        methods = batching_session().preloaded(cls.account_id, account_id)
        if methods is None:
            return db.session.scalar(cls.select_owned(account_id).where(cls.is_default))
        return next((method for method in methods if method.is_default and method.removed_at is None), None)

    @classmethod
    def find_by_reference(cls, account_id: str, provider: str, reference: str) -> "PaymentMethod | None":
        """Find the account's method with the provider's reference, an active one before a removed one."""
        matches = sa.and_(cls.account_id == account_id, cls.provider == provider, cls.reference == reference)
        return db.session.scalar(sa.select(cls).where(matches).order_by(cls.removed_at.is_not(None)).limit(1))

    @classmethod
    def visible_conditions(cls) -> tuple[sa.ColumnElement[bool], ...]:
        return (cls.removed_at.is_(None),)


class ProviderCustomer(Base):
    """An account's customer at the provider; forgotten when it is deleted there."""

    __tablename__ = "provider_customers"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    provider: Mapped[str]
    reference: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
