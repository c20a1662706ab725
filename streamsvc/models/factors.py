"""Second factors: authenticator apps, recovery codes for when one is lost, and trusted devices."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id


class TotpFactor(Base):
    __tablename__ = "totp_factors"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    secret_encrypted: Mapped[str]
    """Encrypted with the service's secret key: the database alone does not suffice to generate codes."""
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """None until a code has confirmed the authenticator."""
    last_step: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """The latest time step whose code was accepted: no code is accepted twice."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the current secret was created: an enrollment that is begun again is a new one."""
    added_by_session_id: Mapped[str | None]


class RecoveryCode(Base):
    __tablename__ = "recovery_codes"
    __table_args__ = (sa.Index("ix_recovery_codes_account_id", "account_id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("rec"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    code_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    added_by_session_id: Mapped[str | None]
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)


class DeviceTrust(Base):
    """A device that presents a token instead of a second factor. Revocation deletes the row."""

    __tablename__ = "device_trusts"
    __table_args__ = (
        sa.Index("ix_device_trusts_account_id", "account_id"),
        sa.Index("ix_device_trusts_given_at", "given_at"),
    )

    device_id: Mapped[str] = mapped_column(sa.ForeignKey("devices.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    token_hash: Mapped[str] = mapped_column(unique=True)
    epoch: Mapped[int]
    service_epoch: Mapped[int] = mapped_column(server_default="0")
    """The number of `ServiceEpoch` when the session began in which the second factor was given."""
    given_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the second factor was given on the device."""
