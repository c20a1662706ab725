"""Tables of the sandbox: its adjustable clocks, and the mails that were not sent."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, fetch_one, new_id


class SandboxClock(Base):
    __tablename__ = "sandbox_clock"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    offset_us: Mapped[int] = mapped_column(sa.BigInteger)
    """Microseconds from the wall clock to the sandbox's."""
    moving_until: Mapped[datetime | None] = mapped_column(UtcTime)
    """While a request moves the clock and runs due jobs; in wall-clock time, so that a crashed request expires."""


class AccountClock(Base):
    """The clock of one account's billing. It shows `shows` until the service's time has come there."""

    __tablename__ = "sandbox_account_clocks"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    shows: Mapped[datetime] = mapped_column(UtcTime)
    moved_from: Mapped[datetime] = mapped_column(UtcTime)
    target: Mapped[datetime] = mapped_column(UtcTime)
    """Where the last move began, and where it leads: later than `shows` while it goes on."""
    jobs_run: Mapped[int] = mapped_column(default=0)
    """Jobs run by the last move so far."""
    moving_until: Mapped[datetime | None] = mapped_column(UtcTime)
    """While a process runs the jobs of a move; in wall-clock time, so that a crashed process expires."""

    @classmethod
    def find_time(cls, account_id: str) -> datetime | None:
        """Return what the account's clock shows; None if it has none."""
        row = fetch_one(CLOCK_OF_ACCOUNT, {"account_id": account_id})
        return row.shows if row else None


CLOCK_OF_ACCOUNT = sa.select(AccountClock.shows).where(AccountClock.account_id == sa.bindparam("account_id"))


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
