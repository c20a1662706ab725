"""mailed_tokens: single-use secrets sent by mail. Only a hash is stored, once the mail is rendered.

Neither the database nor the job queue ever holds a usable secret.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.rules.sign_in.mailed_tokens import INDEPENDENT_KINDS, fresh_period
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
        """Consume the open token with this hash; None if there is none. Of concurrent calls only one gets it.

        The account's other open tokens of the same kind are revoked, unless each of them is about something else.
        """
        is_open = (cls.kind == kind, cls.token_hash == token_hash, *cls.open_conditions(now))
        token_id = db.session.scalar(sa.update(cls).where(*is_open).values(used_at=now).returning(cls.id))
        mailed_token = token_id and db.session.get(cls, token_id)
        if mailed_token and mailed_token.account_id and kind not in INDEPENDENT_KINDS:
            cls.revoke_all(mailed_token.account_id, now, kind)
        return mailed_token

    @classmethod
    def has_fresh(cls, kind: str, now: datetime, *conditions: sa.ColumnElement[bool]) -> bool:
        """Whether an open token of this kind that meets the conditions still has most of its lifetime."""
        is_fresh = (cls.kind == kind, cls.created_at > now - fresh_period(kind), *cls.open_conditions(now))
        return bool(db.session.scalar(sa.select(sa.exists().where(*is_fresh, *conditions))))

    @classmethod
    def revoke_all(cls, account_id: str, now: datetime, *kinds: str) -> None:
        """Revoke the account's open tokens of these kinds, or of all kinds if none is named."""
        cls.revoke_matching(account_id, now, *([cls.kind.in_(kinds)] if kinds else []))

    @classmethod
    def revoke_matching(cls, account_id: str, now: datetime, *conditions: sa.ColumnElement[bool]) -> None:
        """Revoke the account's open tokens that meet the conditions."""
        is_open = (cls.account_id == account_id, cls.used_at.is_(None))
        db.session.execute(sa.update(cls).where(*is_open, *conditions).values(used_at=now))
