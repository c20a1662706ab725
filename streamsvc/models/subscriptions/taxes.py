"""tax_rates: rates by country and tax category. tax_ids, tax_id_checks: customers' VAT numbers and their checks."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY
from streamsvc.storage.database import Base, UtcTime, batching_session, db, new_id


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
    __table_args__ = (
        sa.CheckConstraint("status IN ('unchecked', 'unverified', 'valid', 'invalid')", name="status"),
        sa.Index(
            "ix_tax_ids_unconfirmed",
            "account_id",
            sqlite_where=sa.text("status IN ('unchecked', 'unverified')"),
            postgresql_where=sa.text("status IN ('unchecked', 'unverified')"),
        ),
    )

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    number: Mapped[str]
    """With the country prefix; Greece uses EL."""
    status: Mapped[str]
    """`unchecked`: the form is right, but no register was asked; `unverified`: the register could not answer yet."""
    error: Mapped[str | None]
    """The code of the register's last failure, such as MS_UNAVAILABLE; None once it has answered."""
    checked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    reference: Mapped[str | None]
    """The register's consultation number, as proof of the check."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class TaxIdCheck(Base):
    """A question to the register of VAT numbers, recorded before it is asked."""

    __tablename__ = "tax_id_checks"
    __table_args__ = (
        sa.CheckConstraint("outcome IN ('valid', 'invalid', 'unavailable')", name="outcome"),
        sa.Index("ix_tax_id_checks_account_id", "account_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("vck"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    number: Mapped[str]
    requester: Mapped[str]
    """The seller's VAT number, in whose name the register was asked."""
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    outcome: Mapped[str | None]
    """None while the call is under way, or if the process ended during it."""
    error: Mapped[str | None]
    reference: Mapped[str | None]
    """The register's consultation number."""
