"""pending_flows: two-step flows that were started and not completed yet, such as WebAuthn challenges and OAuth state.

Each can be completed once, within a few minutes. Only the hash of the secret that links the two steps is stored.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime, execute_in_session, execute_write, new_id


class PendingFlow(Base):
    __tablename__ = "pending_flows"
    __table_args__ = (
        sa.Index("ix_pending_flows_expires_at", "expires_at"),
        sa.Index(
            "ix_pending_flows_session_id",  # for the foreign key, when sessions are deleted
            "session_id",
            sqlite_where=sa.text("session_id IS NOT NULL"),
            postgresql_where=sa.text("session_id IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("cer"))
    kind: Mapped[str]
    """A key of FLOW_LIFETIMES in rules/sign_in/pending_flows.py."""
    secret_hash: Mapped[str] = mapped_column(unique=True)
    """The hash of the challenge or of the OAuth state."""
    session_id: Mapped[str | None] = mapped_column(sa.ForeignKey("sessions.id"))
    """The only session that can complete the flow; None if it was started without one."""
    binding_hash: Mapped[str | None]
    """The hash of the secret of the browser or app that started the flow."""
    data: Mapped[dict] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When a request began to exchange the code of an identity provider, which accepts it once."""
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)

    @classmethod
    def select_open(cls, kind: str, secret_hash: str, now: datetime) -> sa.Select:
        """Return the statement that selects a flow while it can be completed."""
        is_open = (cls.kind == kind, cls.secret_hash == secret_hash, cls.used_at.is_(None), cls.expires_at > now)
        return sa.select(*cls.__table__.c).where(*is_open)

    @classmethod
    def consume(cls, flow_id: str, now: datetime) -> bool:
        """Complete the flow and clear its data, in the caller's transaction; False if it was completed before."""
        is_unused = (cls.id == flow_id, cls.used_at.is_(None))
        return execute_in_session(sa.update(cls).where(*is_unused).values(used_at=now, data={})) == 1

    @classmethod
    def claim(cls, flow_id: str, now: datetime) -> bool:
        """Claim the flow for one exchange at the provider, committed at once; False if another request has done so."""
        is_free = (cls.id == flow_id, cls.used_at.is_(None), cls.claimed_at.is_(None))
        return execute_write(sa.update(cls).where(*is_free).values(claimed_at=now)) == 1

    @classmethod
    def release(cls, flow_id: str) -> None:
        """Let another request try: the provider has not accepted the code."""
        execute_write(sa.update(cls).where(cls.id == flow_id, cls.used_at.is_(None)).values(claimed_at=None))
