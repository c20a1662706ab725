"""What the checks of readiness and of the machines' clocks write."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime


class HealthCheck(Base):
    """A web process's last write for its readiness check."""

    __tablename__ = "health_checks"

    id: Mapped[str] = mapped_column(primary_key=True)
    checked_at: Mapped[datetime] = mapped_column(UtcTime)


class ClockReading(Base):
    """The last time at which each machine's clock was trusted. A restart continues from there."""

    __tablename__ = "clock_readings"

    machine: Mapped[str] = mapped_column(primary_key=True)
    """Identifies one run of a machine, from its start on."""
    shown_at: Mapped[datetime] = mapped_column(UtcTime)
    uptime_us: Mapped[int] = mapped_column(sa.BigInteger)
    """Microseconds since the machine's start."""
    generation: Mapped[int]
    """Counts the operators' confirmations; readings from before the last one are void."""
