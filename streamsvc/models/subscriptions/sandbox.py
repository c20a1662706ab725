"""The sandbox payment provider's own journal, as a bank would keep it; not our books."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime, new_id


class SandboxCharge(Base):
    """One request that reached the provider, under its idempotency key."""

    __tablename__ = "sandbox_charges"
    __table_args__ = (sa.Index("uq_sandbox_charges_key", "key", unique=True),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("ch"))
    key: Mapped[str]
    kind: Mapped[str]
    """charge or refund."""
    method: Mapped[str]
    currency: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    status: Mapped[str]
    decline_code: Mapped[str | None]
    requests: Mapped[int] = mapped_column(default=1)
    """Number of requests under this key; it acted once."""
    at: Mapped[datetime] = mapped_column(UtcTime)


class SandboxPlannedOutcome(Base):
    """Planned outcomes of the next charges, first in, first out."""

    __tablename__ = "sandbox_payment_plans"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("nxt"))
    what: Mapped[str]
    details: Mapped[dict] = mapped_column(Json)
