"""coupons, their redemptions, and gift codes."""

from datetime import date, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from streamsvc.storage.database import Base, Json, UtcTime, batching_session, db, execute_in_session, new_id

if TYPE_CHECKING:
    from streamsvc.models.subscriptions.subscriptions import Subscription


class Coupon(Base):
    __tablename__ = "coupons"
    __table_args__ = (
        sa.CheckConstraint("(percent_ppm IS NULL) <> (amount_off_minor IS NULL)", name="one_way_off"),
        sa.CheckConstraint("duration IN ('once', 'repeating', 'forever')", name="duration"),
        sa.CheckConstraint("audience IN ('anyone', 'new', 'returning')", name="audience"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("cou"))
    code: Mapped[str] = mapped_column(unique=True)
    percent_ppm: Mapped[int | None]
    amount_off_minor: Mapped[int | None] = mapped_column(sa.BigInteger)
    currency: Mapped[str | None]
    duration: Mapped[str]
    periods: Mapped[int | None]
    plans: Mapped[list | None] = mapped_column(Json)
    """Codes of the plans to whose lines it applies; None: all."""
    audience: Mapped[str] = mapped_column(default="anyone")
    """Who may redeem it: `anyone`, `new` (no earlier subscription) or `returning` (the last one ended)."""
    combines: Mapped[bool] = mapped_column(default=True)
    """Whether it can be combined with other coupons."""
    max_per_account: Mapped[int | None]
    max_redemptions: Mapped[int | None]
    redeemed: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    @classmethod
    def find_by_code(cls, code: str) -> "Coupon | None":
        return db.session.scalar(sa.select(cls).where(cls.code == code))

    def is_usable(self, now: datetime) -> bool:
        """Whether the coupon can be redeemed now."""
        in_time = self.expires_at is None or now < self.expires_at
        return in_time and (self.max_redemptions is None or self.redeemed < self.max_redemptions)

    @classmethod
    def redeem(cls, coupon_id: str) -> bool:
        """Count one redemption; False if none is left."""
        left = sa.or_(cls.max_redemptions.is_(None), cls.redeemed < cls.max_redemptions)
        taken = sa.update(cls).where(cls.id == coupon_id, left).values(redeemed=cls.redeemed + 1)
        return execute_in_session(taken) == 1

    @classmethod
    def return_redemption(cls, coupon_id: str) -> None:
        """Return a redemption that was not used; safe while others redeem."""
        db.session.execute(sa.update(cls).where(cls.id == coupon_id).values(redeemed=cls.redeemed - 1))


class Discount(Base):
    """A coupon on a subscription, and the number of periods used."""

    __tablename__ = "discounts"
    __table_args__ = (sa.Index("uq_discounts_subscription_coupon", "subscription_id", "coupon_id", unique=True),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("dis"))
    subscription_id: Mapped[str] = mapped_column(sa.ForeignKey("subscriptions.id"))
    coupon_id: Mapped[str] = mapped_column(sa.ForeignKey("coupons.id"))
    periods_used: Mapped[int] = mapped_column(default=0)
    used_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    counted_period: Mapped[date | None]
    counted_by: Mapped[str | None]
    """The start of the period that was counted last, and the id of the invoice that counted it."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When it was removed on request: then no void invoice revives it."""

    coupon: Mapped["Coupon"] = relationship(lazy="joined")
    subscription: Mapped["Subscription"] = relationship()

    @classmethod
    def list_active(cls, subscription_id: str) -> "list[Discount]":
        """List the active discounts in the order in which they apply."""
        discounts = batching_session().preloaded(cls.subscription_id, subscription_id)
        if discounts is None:
            statement = sa.select(cls).where(cls.subscription_id == subscription_id, cls.ended_at.is_(None))
            discounts = list(db.session.scalars(statement.order_by(cls.id)))
        return [discount for discount in discounts if discount.ended_at is None]


class GiftCode(Base):
    """A prepaid code, worth an amount of account credit, or `periods` periods of a price."""

    __tablename__ = "gift_codes"
    __table_args__ = (
        sa.Index(
            "ix_gift_codes_redeemed_by",
            "redeemed_by",
            sqlite_where=sa.text("redeemed_by IS NOT NULL"),
            postgresql_where=sa.text("redeemed_by IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("gif"))
    code: Mapped[str] = mapped_column(unique=True)
    currency: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    """Its value as account credit."""
    price_id: Mapped[str | None] = mapped_column(sa.ForeignKey("prices.id"))
    periods: Mapped[int | None]
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    redeemed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    redeemed_by: Mapped[str | None] = mapped_column(sa.ForeignKey("accounts.id"))
    subscription_id: Mapped[str | None] = mapped_column(sa.ForeignKey("subscriptions.id"))
    """The subscription that it started or extended."""
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When it became unusable because its purchase was refunded or disputed."""

    @classmethod
    def find_by_code(cls, code: str) -> "GiftCode | None":
        return db.session.scalar(sa.select(cls).where(cls.code == code))

    @classmethod
    def redeem(cls, gift_id: str, account_id: str, now: datetime) -> bool:
        """Redeem the code; False if another request was faster, or it was revoked."""
        return execute_in_session(cls._update_unused(gift_id).values(redeemed_at=now, redeemed_by=account_id)) == 1

    @classmethod
    def revoke(cls, gift_id: str, now: datetime) -> bool:
        """Make the code unusable; False if it is already redeemed or revoked."""
        return execute_in_session(cls._update_unused(gift_id).values(revoked_at=now)) == 1

    @classmethod
    def _update_unused(cls, gift_id: str) -> sa.Update:
        return sa.update(cls).where(cls.id == gift_id, cls.redeemed_at.is_(None), cls.revoked_at.is_(None))
