"""usernames and phones: what an account can be found by at sign-in, beside its email address.

A row of `phones` is a proved number; one that awaits its code is in `phone_verifications` and finds no account.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id


class Username(Base):
    __tablename__ = "usernames"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    """In its case-mapped form."""
    skeleton: Mapped[str] = mapped_column(unique=True)
    """Equal for usernames that look alike, so that only one of them can exist."""
    set_at: Mapped[datetime] = mapped_column(UtcTime)
    added_by_session_id: Mapped[str | None]


class Phone(Base):
    __tablename__ = "phones"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    """In E.164."""
    verified_at: Mapped[datetime] = mapped_column(UtcTime)
    added_by_session_id: Mapped[str | None]


class PhoneVerification(Base):
    """A number whose code was not entered yet, at most one per account."""

    __tablename__ = "phone_verifications"
    __table_args__ = (sa.Index("ix_phone_verifications_expires_at", "expires_at"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("phv"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), unique=True)
    number: Mapped[str]
    code_hash: Mapped[str | None]
    """None until the message is rendered."""
    attempts: Mapped[int] = mapped_column(default=0)
    """Codes tried so far."""
    sends: Mapped[int] = mapped_column(default=0)
    """How often a message was handed to the gateway."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
