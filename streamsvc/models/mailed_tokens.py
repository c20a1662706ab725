"""proofs: single-use secrets that go out by mail. Only a hash is kept, made when the mail is: never a usable secret."""

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
    """None for a sign-up that waits for its confirmation."""
    email: Mapped[str]
    """The one address that this proves: another address, another proof."""
    token_hash: Mapped[str | None] = mapped_column(unique=True)
    """None until the mail is made."""
    data: Mapped[dict] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime] = mapped_column(UtcTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """Used, or withdrawn by a newer one."""

    @classmethod
    def open_conditions(cls, now: datetime) -> tuple:
        """The conditions under which a proof still proves anything."""
        return (cls.used_at.is_(None), cls.expires_at > now)

    @classmethod
    def consume(cls, kind: str, token_hash: str, now: datetime) -> "MailedToken | None":
        """Use up the proof under this hash, once whoever asks; None where there is none to use."""
        open_one = (cls.kind == kind, cls.token_hash == token_hash, *cls.open_conditions(now))
        used = db.session.scalar(sa.update(cls).where(*open_one).values(used_at=now).returning(cls.id))
        return used and db.session.get(cls, used)

    @classmethod
    def revoke_all(cls, account_id: str, now: datetime, *kinds: str) -> None:
        """No open proof of these kinds (of any, where none is named) works from now on."""
        open_ones = [cls.account_id == account_id, cls.used_at.is_(None)]
        if kinds:
            open_ones.append(cls.kind.in_(kinds))
        db.session.execute(sa.update(cls).where(*open_ones).values(used_at=now))
