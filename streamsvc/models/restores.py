"""restores: the database was restored from a backup. Until it is reconciled, nobody is charged."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, new_id


class Restore(Base):
    __tablename__ = "restores"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("rst"))
    taken_at: Mapped[datetime] = mapped_column(UtcTime)
    """The machine's time at which the backup was taken: what happened later is not in the database."""
    restored_at: Mapped[datetime] = mapped_column(UtcTime)
    reconciled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When an operator released the hold on charging; None: nobody is charged."""

    @classmethod
    def select_open(cls) -> Any:
        """Select the time of the oldest backup whose restore is not reconciled; None if there is none."""
        return sa.select(sa.func.min(cls.taken_at)).where(cls.reconciled_at.is_(None))
