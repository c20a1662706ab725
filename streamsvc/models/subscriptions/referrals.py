"""referral_codes, referrals, referral_rewards."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime


class ReferralCode(Base):
    __tablename__ = "referral_codes"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class Referral(Base):
    """A new subscriber and the referrer; both are rewarded at the first payment."""

    __tablename__ = "referrals"
    __table_args__ = (sa.Index("ix_referrals_referrer_id", "referrer_id"),)

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    """The new subscriber: an account can be referred once."""
    referrer_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    subscription_id: Mapped[str] = mapped_column(sa.ForeignKey("subscriptions.id"))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    rewarded_at: Mapped[datetime | None] = mapped_column(UtcTime)
    rewards: Mapped[list | None] = mapped_column(Json)
    """What was credited: [{account_id, currency, amount_minor, taken_back_minor?}]."""
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the whole reward was taken back, or refused, since nothing of the new subscriber's money was kept."""


class ReferralReward(Base):
    """The account credit that both receive, in one currency."""

    __tablename__ = "referral_rewards"

    currency: Mapped[str] = mapped_column(primary_key=True)
    referrer_minor: Mapped[int] = mapped_column(sa.BigInteger)
    newcomer_minor: Mapped[int] = mapped_column(sa.BigInteger)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
