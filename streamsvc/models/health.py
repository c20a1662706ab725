"""What the readiness check writes."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime


class HealthCheck(Base):
    """A web process's last write for its readiness check."""

    __tablename__ = "health_checks"

    id: Mapped[str] = mapped_column(primary_key=True)
    checked_at: Mapped[datetime] = mapped_column(UtcTime)
