"""rate_limit_counters: one row per limit and subject, changed only by single guarded statements. rate_limit_keys: the
key that the counters' names are derived with."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime


class RateLimitCounter(Base):
    __tablename__ = "rate_limit_counters"
    __table_args__ = (sa.Index("ix_rate_limit_counters_until_s", "until_s"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    """The rule's name and a keyed hash of the subject: no address or email is stored."""
    count: Mapped[int]
    until_s: Mapped[int] = mapped_column(sa.BigInteger)
    """Seconds since 1970: the end of the rate limit's window, or of the back-off's wait."""


class RateLimitKey(Base):
    """The one key of the counters, encrypted once with each of the service's secret keys.

    So counters keep their names when the secret key is rotated, and processes with the former settings find them too.
    """

    __tablename__ = "rate_limit_keys"

    secret_id: Mapped[str] = mapped_column(primary_key=True)
    """Identifies the secret key that `key_encrypted` is encrypted with, without revealing it."""
    key_encrypted: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
