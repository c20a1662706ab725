"""identities: accounts elsewhere that sign in here (OpenID Connect), by issuer and subject, never by e-mail."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, db, new_id


class Identity(Base):
    __tablename__ = "identities"
    __table_args__ = (
        sa.Index("uq_identities_issuer_subject", "issuer", "subject", unique=True),
        sa.Index("ix_identities_account_id", "account_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("idn"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    provider: Mapped[str]
    """The name under which the settings know the provider."""
    issuer: Mapped[str]
    subject: Mapped[str]
    """Who it is there: the one name that is never given to somebody else (OpenID Connect Core, 2)."""
    email: Mapped[str | None]
    """What the provider called it when it was linked; shown to the owner, decides nothing."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)

    @classmethod
    def owned_by(cls, account_id: str):
        return sa.select(cls).where(cls.account_id == account_id)

    @classmethod
    def of(cls, account_id: str, identity_id: str) -> "Identity | None":
        return db.session.scalar(cls.owned_by(account_id).where(cls.id == identity_id))
