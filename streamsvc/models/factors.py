"""Second proofs of who somebody is: an authenticator app, and codes on paper for the day it is lost."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.database import Base, UtcTime, new_id


class TotpFactor(Base):
    __tablename__ = "totp_factors"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    secret_sealed: Mapped[str]
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
