"""passkeys: the public keys of viewers' WebAuthn credentials."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id
from streamsvc.storage.owned import OwnedByAccount


class Passkey(OwnedByAccount, Base):
    __tablename__ = "passkeys"
    __table_args__ = (sa.Index("ix_passkeys_account_id", "account_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("pky"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    credential_id: Mapped[str] = mapped_column(unique=True)
    """In base64url, as browsers send it."""
    public_key: Mapped[bytes]
    sign_count: Mapped[int] = mapped_column(sa.BigInteger)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    added_by_session_id: Mapped[str | None]
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)
