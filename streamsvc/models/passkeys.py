"""passkeys: the public halves of the keys that viewers' own devices hold (WebAuthn)."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.database import Base, Json, UtcTime, db, new_id


class Passkey(Base):
    __tablename__ = "passkeys"
    __table_args__ = (sa.Index("ix_passkeys_account_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("psk"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    credential_id: Mapped[str] = mapped_column(unique=True)
    """As the authenticator names it, base64url."""
    public_key: Mapped[bytes]
    """A COSE key."""
    sign_count: Mapped[int] = mapped_column(sa.BigInteger)
    """How often the authenticator says it has signed; always 0 for passkeys that are synchronised."""
    transports: Mapped[list] = mapped_column(Json)
    name: Mapped[str]
    backed_up: Mapped[bool]
    """Whether it is kept outside the one device, too."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)

    @classmethod
    def kept(cls, account_id: str):
        return sa.select(cls).where(cls.account_id == account_id)

    @classmethod
    def of(cls, account_id: str, passkey_id: str) -> "Passkey | None":
        return db.session.scalar(cls.kept(account_id).where(cls.id == passkey_id))
