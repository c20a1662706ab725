"""referral_codes, referrals, referral_rewards: who brought whom, and what both have for it."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime


class ReferralCode(Base):
    __tablename__ = "referral_codes"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class Referral(Base):
    """A newcomer and who sent them; rewarded when the newcomer first pays."""

    __tablename__ = "referrals"
    __table_args__ = (sa.Index("ix_referrals_referrer_id", "referrer_id"),)

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    """The newcomer: an account is brought once."""
    referrer_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    subscription_id: Mapped[str] = mapped_column(sa.ForeignKey("subscriptions.id"))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    rewarded_at: Mapped[datetime | None] = mapped_column(UtcTime)


class ReferralReward(Base):
    """What a referral is worth in a currency: account credit for both."""

    __tablename__ = "referral_rewards"

    currency: Mapped[str] = mapped_column(primary_key=True)
    referrer_minor: Mapped[int] = mapped_column(sa.BigInteger)
    newcomer_minor: Mapped[int] = mapped_column(sa.BigInteger)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
