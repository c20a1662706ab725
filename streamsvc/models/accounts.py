"""accounts: who pays. profiles: who watches. api_keys: who operates."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.database import Base, Json, UtcTime, db, new_id


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (
        sa.CheckConstraint("status IN ('active', 'disabled', 'deleted')", name="status"),
        sa.Index("uq_accounts_email_key", "email_key", unique=True),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("acc"))
    email: Mapped[str]
    email_key: Mapped[str]
    """The e-mail in its canonical form: one account for each."""
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcTime)
    password_hash: Mapped[str | None]
    name: Mapped[str | None]
    country: Mapped[str]
    time_zone: Mapped[str]
    locale: Mapped[str]
    status: Mapped[str] = mapped_column(default="active")
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    @classmethod
    def by_email_key(cls, email_key: str) -> "Account | None":
        return db.session.scalar(sa.select(cls).where(cls.email_key == email_key))


class Profile(Base):
    __tablename__ = "profiles"
    __table_args__ = (sa.Index("ix_profiles_account_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("pro"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    name: Mapped[str]
    avatar: Mapped[str | None]
    language: Mapped[str | None]
    kids: Mapped[bool] = mapped_column(default=False)
    max_age: Mapped[int | None]
    """The oldest minimum age that this profile may see; None sees everything."""
    autoplay: Mapped[bool] = mapped_column(default=True)
    pin_hash: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class ApiKey(Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("key"))
    name: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)
