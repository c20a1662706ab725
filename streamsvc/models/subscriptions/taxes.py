"""tax_rates: what each country asks for; a rate counts for invoices issued while it stands."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.database import Base, UtcTime


class TaxRate(Base):
    __tablename__ = "tax_rates"

    country: Mapped[str] = mapped_column(primary_key=True)
    rate_ppm: Mapped[int]
    """Parts per million: 20 % is 200_000."""
    name: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
