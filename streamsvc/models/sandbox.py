"""Tables of the sandbox: its adjustable clock, and the mails that were not sent."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id


class SandboxClock(Base):
    __tablename__ = "sandbox_clock"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    offset_us: Mapped[int] = mapped_column(sa.BigInteger)
    """Microseconds from the wall clock to the sandbox's."""
    moving_until: Mapped[datetime | None] = mapped_column(UtcTime)
    """While a request moves the clock and runs due jobs; in wall-clock time, so that a crashed request expires."""


class SandboxEmail(Base):
    __tablename__ = "sandbox_emails"
    __table_args__ = (sa.Index("ix_sandbox_emails_to", "to", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("eml"))
    to: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str]
    html: Mapped[str | None]
    kind: Mapped[str]
    sent_at: Mapped[datetime] = mapped_column(UtcTime)


class SandboxSms(Base):
    __tablename__ = "sandbox_sms"
    __table_args__ = (sa.Index("ix_sandbox_sms_to", "to", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("sms"))
    to: Mapped[str]
    kind: Mapped[str]
    text: Mapped[str]
    sent_at: Mapped[datetime] = mapped_column(UtcTime)
