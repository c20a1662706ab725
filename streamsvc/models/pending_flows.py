"""ceremonies: begun here and to be finished here, once and soon: a passkey's challenge, a provider's sign-in.

Only a hash of the secret that ties the two halves together is kept.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime, db, new_id


class PendingFlow(Base):
    __tablename__ = "pending_flows"
    __table_args__ = (sa.Index("ix_pending_flows_expires_at", "expires_at"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("cer"))
    kind: Mapped[str]
    """One of rules/sign_in/pending_flows.py."""
    secret_hash: Mapped[str] = mapped_column(unique=True)
    """Of the challenge, or of OAuth's state."""
    session_id: Mapped[str | None] = mapped_column(sa.ForeignKey("sessions.id"))
    """The one session that may finish it; None where nobody is signed in yet."""
    binding_hash: Mapped[str | None]
    """Of what the browser or app that began it holds, and no page or mail tells."""
    data: Mapped[dict] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)

    @classmethod
    def select_open(cls, kind: str, secret_hash: str, now: datetime):
        """The statement that finds it while it can still be finished."""
        open_ones = (cls.kind == kind, cls.secret_hash == secret_hash, cls.used_at.is_(None), cls.expires_at > now)
        return sa.select(*cls.__table__.c).where(*open_ones)

    @classmethod
    def consume(cls, flow_id: str, now: datetime) -> bool:
        """Finish it and forget what it was about, in the caller's unit of work; whether nobody did so before."""
        unused = (cls.id == flow_id, cls.used_at.is_(None))
        return db.session.execute(sa.update(cls).where(*unused).values(used_at=now, data={})).rowcount == 1
