"""tax_rates: what each country asks for, while it stands. tax_ids: whose VAT is for them to pay (reverse charge)."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime


class TaxRate(Base):
    __tablename__ = "tax_rates"

    country: Mapped[str] = mapped_column(primary_key=True)
    rate_ppm: Mapped[int]
    """Parts per million: 20 % is 200_000."""
    name: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(UtcTime)


class TaxId(Base):
    """An account's VAT number, in the form of its country."""

    __tablename__ = "tax_ids"
    __table_args__ = (sa.CheckConstraint("status IN ('unchecked', 'valid', 'invalid')", name="status"),)

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    number: Mapped[str]
    """With the two letters of its country in front; Greece writes EL."""
    status: Mapped[str]
    """unchecked: the form is right and nobody could be asked yet; it counts once it is valid."""
    checked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    reference: Mapped[str | None]
    """Under which the register remembers that it was asked: what an audit asks for."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
