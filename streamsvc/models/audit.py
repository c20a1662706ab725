"""audit_events: who did what, written in the same transaction. Each row's hash covers the previous row."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime

HAS_OBJECT = sa.text("object_id IS NOT NULL")


class AuditEvent(Base):
    __tablename__ = "audit_events"
    __table_args__ = (
        sa.Index("ix_audit_events_account_id", "account_id", "seq"),
        sa.Index("ix_audit_events_action", "action", "seq"),
        sa.Index("ix_audit_events_object_id", "object_id", "seq", sqlite_where=HAS_OBJECT, postgresql_where=HAS_OBJECT),
    )

    seq: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcTime)
    action: Mapped[str]
    account_id: Mapped[str | None]
    actor: Mapped[str | None]
    """An account, operator or API key; `anonymous` for an unauthenticated caller, None for scheduled work."""
    object_type: Mapped[str | None]
    object_id: Mapped[str | None]
    """What was changed: `object` of the details. It stays when these are emptied."""
    details: Mapped[dict | None] = mapped_column(Json)
    """Address, client and so on. Erasure empties it; the chain stays valid, since it covers the digest."""
    details_digest: Mapped[str]
    previous: Mapped[str]
    hash: Mapped[str]
