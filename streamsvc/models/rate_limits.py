"""throttles: how often something was tried. One row per limit and subject; every step is one guarded statement."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base


class RateLimitCounter(Base):
    __tablename__ = "rate_limit_counters"
    __table_args__ = (sa.Index("ix_rate_limit_counters_until_s", "until_s"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    """The limit's name and a keyed hash of whom it counts: no address and no e-mail stands here."""
    count: Mapped[int]
    until_s: Mapped[int] = mapped_column(sa.BigInteger)
    """Seconds since 1970: the end of the window, or when the ladder's next attempt opens."""
