"""Second proofs of who somebody is: an authenticator app, codes on paper for the day it is lost, trusted devices."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id


class TotpFactor(Base):
    __tablename__ = "totp_factors"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    secret_encrypted: Mapped[str]
    """Sealed with the service's secret key: the database alone does not make codes."""
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """None until the owner has shown one code."""
    last_step: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """The newest step that was used: no code counts twice."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class RecoveryCode(Base):
    __tablename__ = "recovery_codes"
    __table_args__ = (sa.Index("ix_recovery_codes_account_id", "account_id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("rec"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    code_hash: Mapped[str] = mapped_column(unique=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)


class DeviceTrust(Base):
    """A device that shows a secret where others are asked for a code. Distrusted, it has no row."""

    __tablename__ = "device_trusts"
    __table_args__ = (sa.Index("ix_device_trusts_account_id", "account_id"),)

    device_id: Mapped[str] = mapped_column(sa.ForeignKey("devices.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    token_hash: Mapped[str] = mapped_column(unique=True)
    epoch: Mapped[int]
    given_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the second factor was given on it."""
