"""mailed_tokens: single-use secrets sent by mail. Only a hash is stored, once the mail is rendered.

Neither the database nor the job queue ever holds a usable secret.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, Json, UtcTime, db, new_id


class MailedToken(Base):
    __tablename__ = "mailed_tokens"
    __table_args__ = (
        sa.Index("ix_mailed_tokens_account_id", "account_id", "kind"),
        sa.Index("ix_mailed_tokens_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("prf"))
    kind: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(sa.ForeignKey("accounts.id"))
    """None for a sign-up to be confirmed, and for an operator's invitation."""
    email: Mapped[str]
    """The address that the token was mailed to, and whose ownership it proves."""
    token_hash: Mapped[str | None] = mapped_column(unique=True)
    """None until the mail is rendered."""
    data: Mapped[dict] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the token was consumed or revoked."""

    @property
    def owner_id(self) -> str:
        """The account of a token whose kind belongs to an account. Raises ValueError for other kinds."""
        if self.account_id is None:
            raise ValueError(f"a token of the kind {self.kind} has no account")
        return self.account_id

    @classmethod
    def open_conditions(cls, now: datetime) -> tuple:
        """Return the conditions under which a token can be consumed."""
        return (cls.used_at.is_(None), cls.expires_at > now)

    @classmethod
    def consume(cls, kind: str, token_hash: str, now: datetime) -> "MailedToken | None":
        """Consume the open token with this hash; None if there is none. Of concurrent calls only one gets it."""
        is_open = (cls.kind == kind, cls.token_hash == token_hash, *cls.open_conditions(now))
        token_id = db.session.scalar(sa.update(cls).where(*is_open).values(used_at=now).returning(cls.id))
        return token_id and db.session.get(cls, token_id)

    @classmethod
    def revoke_all(cls, account_id: str, now: datetime, *kinds: str) -> None:
        """Revoke the account's open tokens of these kinds, or of all kinds if none is named."""
        conditions = [cls.account_id == account_id, cls.used_at.is_(None)]
        if kinds:
            conditions.append(cls.kind.in_(kinds))
        db.session.execute(sa.update(cls).where(*conditions).values(used_at=now))
