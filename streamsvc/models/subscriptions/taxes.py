"""tax_rates: the rates of each country, by tax category. tax_ids: VAT numbers of customers (reverse charge)."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY
from streamsvc.storage.database import Base, UtcTime, batching_session, db


class TaxRate(Base):
    __tablename__ = "tax_rates"

    country: Mapped[str] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(primary_key=True, default=STANDARD_CATEGORY)
    """The category of the plans that it applies to; `standard` also applies to those without a rate of their own."""
    rate_ppm: Mapped[int]
    """Parts per million: 20 % is 200_000."""
    name: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(UtcTime)

    @classmethod
    def list_for_country(cls, country: str) -> "list[TaxRate]":
        rates = batching_session().preloaded(cls.country, country)
        if rates is None:
            rates = list(db.session.scalars(sa.select(cls).where(cls.country == country)))
        return rates


class TaxId(Base):
    """An account's VAT number."""

    __tablename__ = "tax_ids"
    __table_args__ = (sa.CheckConstraint("status IN ('unchecked', 'valid', 'invalid')", name="status"),)

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    number: Mapped[str]
    """With the country prefix; Greece uses EL."""
    status: Mapped[str]
    """`unchecked`: the form is valid but the register has not responded yet; only `valid` numbers count."""
    checked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    reference: Mapped[str | None]
    """The register's consultation number, as proof of the check."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
