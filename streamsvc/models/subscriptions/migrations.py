"""price_migrations: moves of subscribers from one price to another. price_migration_targets: whom each one concerns."""

from collections.abc import Iterable
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.models.subscriptions.subscriptions import status_condition
from streamsvc.storage.database import Base, UtcTime, batching_session, db, new_id

TARGET_KINDS = ("base", "planned", "addon")
TARGET_STATES = ("scheduled", "applied", "declined", "skipped", "withdrawn")


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
    completed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When all subscriptions that had or planned the old price were scheduled."""

    @classmethod
    def list_open(cls, from_price_ids: Iterable[str]) -> "list[PriceMigration]":
        """List the migrations from these prices that are not withdrawn."""
        price_ids = list(from_price_ids)
        lists = [batching_session().preloaded(cls.from_price_id, price_id) for price_id in price_ids]
        if None not in lists:
            return sorted((row for rows in lists for row in rows or ()), key=lambda row: row.id)
        statement = sa.select(cls).where(cls.from_price_id.in_(price_ids), cls.withdrawn_at.is_(None))
        return list(db.session.scalars(statement.order_by(cls.id)))


class PriceMigrationTarget(Base):
    """What a price migration means to one subscription."""

    __tablename__ = "price_migration_targets"
    __table_args__ = (
        sa.CheckConstraint(status_condition("kind", TARGET_KINDS), name="kind"),
        sa.CheckConstraint(status_condition("state", TARGET_STATES), name="state"),
        sa.Index("ix_price_migration_targets_subscription_id", "subscription_id"),
        sa.Index("ix_price_migration_targets_state", "migration_id", "state", "subscription_id"),
    )

    migration_id: Mapped[str] = mapped_column(sa.ForeignKey("price_migrations.id"), primary_key=True)
    subscription_id: Mapped[str] = mapped_column(sa.ForeignKey("subscriptions.id"), primary_key=True)
    kind: Mapped[str]
    """What has the old price: the `base` plan, an `addon`, or a `planned` change."""
    state: Mapped[str]
    """`skipped`: the subscription left the price, by itself or by a later migration, or ended."""
    not_before: Mapped[date]
    """Renewals from this day on use the new price; later than the migration's day if the notice was given later."""

    @classmethod
    def list_of_subscription(cls, subscription_id: str) -> "list[PriceMigrationTarget]":
        """List the targets of a subscription, oldest migration first."""
        statement = sa.select(cls).where(cls.subscription_id == subscription_id).order_by(cls.migration_id)
        return list(db.session.scalars(statement))
