"""device_codes: televisions to be signed in from a phone (RFC 8628). Only the hashes of both codes are stored."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime, db, new_id


class DeviceCode(Base):
    __tablename__ = "device_codes"
    __table_args__ = (
        sa.CheckConstraint("status IN ('pending', 'approved', 'denied', 'used')", name="status"),
        sa.Index("ix_device_codes_expires_at", "expires_at"),
        sa.Index("ix_device_codes_account_id", "account_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("dvc"))
    device_code_hash: Mapped[str] = mapped_column(unique=True)
    user_code_hash: Mapped[str] = mapped_column(unique=True)
    device: Mapped[dict] = mapped_column(Json)
    """{name, kind, city}: the first two as reported by the device. After the decision also `proved_at`: when the user
    who decided had last authenticated."""
    address: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="pending")
    account_id: Mapped[str | None] = mapped_column(sa.ForeignKey("accounts.id"))
    """The account of the user who decided."""
    decided_by_session_id: Mapped[str | None]
    decided_at: Mapped[datetime | None] = mapped_column(UtcTime)
    interval_s: Mapped[int]
    next_poll_at: Mapped[datetime] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)

    @property
    def city(self) -> str | None:
        return self.device.get("city")

    @classmethod
    def find_pending(cls, user_code_hash: str, now: datetime) -> "DeviceCode | None":
        """Find the code that awaits a decision."""
        is_pending = (cls.user_code_hash == user_code_hash, cls.status == "pending", cls.expires_at > now)
        return db.session.scalar(sa.select(cls).where(*is_pending))
