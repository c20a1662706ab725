"""identities: linked accounts at OpenID Connect providers, identified by issuer and subject, never by email."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id
from streamsvc.storage.owned import OwnedByAccount


class Identity(OwnedByAccount, Base):
    __tablename__ = "identities"
    __table_args__ = (
        sa.Index("uq_identities_issuer_subject", "issuer", "subject", unique=True),
        sa.Index("ix_identities_account_id", "account_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("idn"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    provider: Mapped[str]
    """The provider's name in the settings."""
    issuer: Mapped[str]
    subject: Mapped[str]
    """The user's id at the provider, which is never reassigned (OpenID Connect Core, 2)."""
    email: Mapped[str | None]
    """The email address at the provider when the identity was linked; for display only."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    added_by_session_id: Mapped[str | None]
    """The session that linked it; None if the account was created with it."""
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)
