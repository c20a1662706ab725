"""price_migrations: moves of subscribers from one price to another."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id


class PriceMigration(Base):
    __tablename__ = "price_migrations"
    __table_args__ = (sa.Index("ix_price_migrations_from_price_id", "from_price_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("mig"))
    from_price_id: Mapped[str] = mapped_column(sa.ForeignKey("prices.id"))
    to_price_id: Mapped[str] = mapped_column(sa.ForeignKey("prices.id"))
    effective: Mapped[date]
    """Renewals from this day on use the new price; includes the days of notice."""
    notice_days: Mapped[int]
    started_before: Mapped[date | None]
    """Only subscriptions that started before this day; None: all."""
    country: Mapped[str | None]
    """Only accounts in this country; None: all."""
    can_decline: Mapped[bool]
    """Whether customers may keep the old price."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcTime)
