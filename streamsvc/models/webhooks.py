"""events: what happened, for webhooks. webhook_endpoints, webhook_deliveries: who gets them, and each delivery."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime, new_id


class WebhookEvent(Base):
    """An event, written in the same transaction as the change it reports."""

    __tablename__ = "events"
    __table_args__ = (
        sa.Index("ix_events_account_id", "account_id", "id"),
        sa.Index("ix_events_kind", "kind", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("evt"))
    kind: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(sa.ForeignKey("accounts.id"))
    data: Mapped[dict] = mapped_column(Json)
    at: Mapped[datetime] = mapped_column(UtcTime)


class WebhookEndpoint(Base):
    __tablename__ = "webhook_endpoints"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("whe"))
    url: Mapped[str]
    kinds: Mapped[list | None] = mapped_column(Json)
    """The event types to send; None: all but those of playback."""
    secret_encrypted: Mapped[str]
    """Encrypted with the service's secret key: the database alone cannot sign."""
    old_secret_encrypted: Mapped[str | None]
    old_secret_until: Mapped[datetime | None] = mapped_column(UtcTime)
    """Both secrets sign until then, so that the receiver can switch."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcTime)


class WebhookDelivery(Base):
    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        sa.CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
        sa.Index("ix_webhook_deliveries_endpoint_id", "endpoint_id", "id"),
        sa.Index("ix_webhook_deliveries_event_id", "event_id"),
        sa.Index(
            "ix_webhook_deliveries_failed",
            "id",
            "endpoint_id",
            "event_id",
            "status",
            sqlite_where=sa.text("status = 'failed'"),
            postgresql_where=sa.text("status = 'failed'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("whd"))
    endpoint_id: Mapped[str] = mapped_column(sa.ForeignKey("webhook_endpoints.id"))
    event_id: Mapped[str] = mapped_column(sa.ForeignKey("events.id"))
    status: Mapped[str] = mapped_column(default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    response_status: Mapped[int | None]
    error: Mapped[str | None]
    next_at: Mapped[datetime | None] = mapped_column(UtcTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
