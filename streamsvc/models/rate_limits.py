"""rate_limit_counters: one row per limit and subject, changed only by single guarded statements."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base


class RateLimitCounter(Base):
    __tablename__ = "rate_limit_counters"
    __table_args__ = (sa.Index("ix_rate_limit_counters_until_s", "until_s"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    """The rule's name and a keyed hash of the subject: no address or email is stored."""
    count: Mapped[int]
    until_s: Mapped[int] = mapped_column(sa.BigInteger)
    """Seconds since 1970: the end of the rate limit's window, or of the back-off's wait."""
