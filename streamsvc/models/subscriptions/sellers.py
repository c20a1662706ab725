"""legal_entities: further companies that sell, with their countries. billing_addresses: where invoices are sent."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.storage.database import Base, UtcTime, db


class LegalEntity(Base):
    """A company that sells to the countries listed for it. All other countries buy from the seller of the settings."""

    __tablename__ = "legal_entities"

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    street: Mapped[str | None]
    postal_code: Mapped[str | None]
    city: Mapped[str | None]
    country: Mapped[str]
    vat_id: Mapped[str | None]
    tax_number: Mapped[str | None]
    registration: Mapped[str | None]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    tax_exemption: Mapped[str | None]
    """Why it charges no tax, printed on invoices without tax."""
    prefix: Mapped[str] = mapped_column(unique=True)
    """Begins its invoice numbers, so that each entity has its own series."""
    time_zone: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(UtcTime)

    @property
    def countries(self) -> list[str]:
        """The countries that it sells to, sorted."""
        column = LegalEntityCountry.country
        query = sa.select(column).where(LegalEntityCountry.entity_code == self.code).order_by(column)
        return list(db.session.scalars(query))


class LegalEntityCountry(Base):
    """A country that a legal entity sells to; each country has at most one."""

    __tablename__ = "legal_entity_countries"
    __table_args__ = (sa.Index("ix_legal_entity_countries_entity_code", "entity_code"),)

    country: Mapped[str] = mapped_column(primary_key=True)
    entity_code: Mapped[str] = mapped_column(sa.ForeignKey("legal_entities.code"))


class BillingAddress(Base):
    """The name and the address that an account wants on its invoices."""

    __tablename__ = "billing_addresses"

    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"), primary_key=True)
    name: Mapped[str | None]
    street: Mapped[str | None]
    postal_code: Mapped[str | None]
    city: Mapped[str | None]
    region: Mapped[str | None]
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
