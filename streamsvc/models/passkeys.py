"""passkeys: public keys that viewers sign in with. passkey_challenges: what an authenticator is asked to sign, once."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.database import Base, UtcTime, db, new_id


class Passkey(Base):
    __tablename__ = "passkeys"
    __table_args__ = (sa.Index("ix_passkeys_account_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("pky"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    credential_id: Mapped[str] = mapped_column(unique=True)
    """Base64url, as authenticators and browsers write it."""
    public_key: Mapped[bytes]
    sign_count: Mapped[int] = mapped_column(sa.BigInteger)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)

    @classmethod
    def owned_by(cls, account_id: str):
        return sa.select(cls).where(cls.account_id == account_id)

    @classmethod
    def of(cls, account_id: str, passkey_id: str) -> "Passkey | None":
        return db.session.scalar(cls.owned_by(account_id).where(cls.id == passkey_id))

    @classmethod
    def by_credential(cls, credential_id: str) -> "Passkey | None":
        return db.session.scalar(sa.select(cls).where(cls.credential_id == credential_id))


class PasskeyChallenge(Base):
    __tablename__ = "passkey_challenges"
    __table_args__ = (sa.Index("ix_passkey_challenges_expires_at", "expires_at"),)

    challenge_hash: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None] = mapped_column(sa.ForeignKey("accounts.id"))
    """Whose new passkey it is for; None for a sign-in."""
    expires_at: Mapped[datetime] = mapped_column(UtcTime)

    @classmethod
    def use(cls, challenge_hash: str, account_id: str | None, now: datetime) -> bool:
        """Whether this was asked, of this account, not long ago and not answered yet; uses it up."""
        asked = (
            cls.challenge_hash == challenge_hash,
            cls.expires_at > now,
            cls.account_id.is_not_distinct_from(account_id),
        )
        return db.session.execute(sa.delete(cls).where(*asked)).rowcount == 1
