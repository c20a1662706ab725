"""plans and prices. A price is one version: it is never edited, only superseded."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship, selectinload

from streamsvc.rules.billing.calendar import Interval
from streamsvc.rules.billing.facts import Intro
from streamsvc.rules.billing.facts import PriceTerms as PriceFacts
from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY
from streamsvc.storage.compiled_statements import CompiledStatement
from streamsvc.storage.database import Base, Json, UtcTime, db, new_id


class Plan(Base):
    __tablename__ = "plans"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("pln"))
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    description: Mapped[str | None]
    features: Mapped[dict] = mapped_column(Json)
    """{max_streams, max_height, max_profiles, max_devices, downloads, ads}."""
    addon: Mapped[bool] = mapped_column(default=False, server_default=sa.false())
    """Whether it is sold only with another plan. Any other plan can be sold both alone and with another one."""
    addon_features: Mapped[dict] = mapped_column(Json, default=dict, server_default="{}")
    """What each unit adds to the entitlements where it is an add-on; the members of `features`, all optional."""
    includes: Mapped[list] = mapped_column(Json, default=list, server_default="[]")
    """Codes of the add-ons that it contains."""
    sold_with: Mapped[list] = mapped_column(Json, default=list, server_default="[]")
    """Codes of the plans to which it can be an add-on; empty: to all."""
    tax_category: Mapped[str] = mapped_column(default=STANDARD_CATEGORY, server_default=STANDARD_CATEGORY)
    """Which of a country's tax rates its prices have."""
    store_products: Mapped[list] = mapped_column(Json, default=list, server_default="[]")
    """[{source, product_id, base_plan_id}]: what buys it in the app stores; StoreProduct has the same, to be found."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime)

    prices: Mapped[list["Price"]] = relationship(
        order_by="Price.id", primaryjoin="and_(Price.plan_id == Plan.id, Price.retired_at.is_(None))", viewonly=True
    )
    retired_prices: Mapped[list["Price"]] = relationship(
        order_by="Price.id", primaryjoin="and_(Price.plan_id == Plan.id, Price.retired_at.is_not(None))", viewonly=True
    )

    @classmethod
    def find_by_code(cls, code: str) -> "Plan | None":
        return db.session.scalar(sa.select(cls).where(cls.code == code))

    @classmethod
    def load_addon_features(cls, codes: Iterable[str]) -> dict[str, dict]:
        """Load what the add-ons with these codes add to the entitlements, by code."""
        wanted = set(codes)
        return {row.code: row.addon_features for row in ADDON_FEATURES.all() if row.code in wanted}

    @classmethod
    def list_all(cls) -> "list[Plan]":
        """List all plans, on sale or not, in the order in which they were created."""
        statement = sa.select(cls).order_by(cls.id)
        prices = selectinload(cls.prices), selectinload(cls.retired_prices)
        return list(db.session.scalars(statement.options(*prices)))

    @classmethod
    def list_on_sale(cls, addon: bool) -> "list[Plan]":
        """List the add-ons, or all other plans, with a price on sale, in the order in which they were created."""
        statement = sa.select(cls).where(cls.addon == addon).order_by(cls.id)
        plans = db.session.scalars(statement.options(selectinload(cls.prices)))
        return [plan for plan in plans if plan.prices]


class Price(Base):
    __tablename__ = "prices"
    __table_args__ = (
        sa.CheckConstraint("amount_minor >= 0", name="amount"),
        sa.CheckConstraint("interval IN ('day', 'week', 'month', 'year')", name="interval"),
        sa.CheckConstraint("tax IN ('inclusive', 'exclusive')", name="tax"),
        sa.Index("ix_prices_plan_id", "plan_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("pri"))
    plan_id: Mapped[str] = mapped_column(sa.ForeignKey("plans.id"))
    currency: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    interval: Mapped[str]
    interval_count: Mapped[int]
    trial_days: Mapped[int]
    intro_amount_minor: Mapped[int | None] = mapped_column(sa.BigInteger)
    intro_periods: Mapped[int | None]
    tax: Mapped[str]
    countries: Mapped[list | None] = mapped_column(Json)
    """Countries in which it is sold; None: everywhere."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    retired_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When it was superseded; existing subscribers keep it."""

    plan: Mapped[Plan] = relationship()

    @classmethod
    def find_on_sale(cls, price_id: str, country: str) -> "Price | None":
        """Find the price, if it is on sale in the country; else None."""
        price = db.session.get(cls, price_id)
        sold = price and price.retired_at is None and (price.countries is None or country in price.countries)
        return price if sold else None

    @classmethod
    def list_on_sale(cls, country: str) -> "list[Price]":
        """List the prices on sale in the country."""
        prices = db.session.scalars(sa.select(cls).where(cls.retired_at.is_(None)))
        return [price for price in prices if price.countries is None or country in price.countries]

    @classmethod
    def get_price(cls, price_id: str) -> "Price":
        return db.session.get_one(cls, price_id)

    @property
    def intro(self) -> dict | None:
        if self.intro_periods is None:
            return None
        return {"amount_minor": self.intro_amount_minor, "periods": self.intro_periods}

    @property
    def terms(self) -> PriceFacts:
        """The price as the billing rules use it."""
        intro = None
        if self.intro_periods and self.intro_amount_minor is not None:
            intro = Intro(self.intro_amount_minor, self.intro_periods)
        interval = Interval(self.interval, self.interval_count)
        return PriceFacts(self.id, self.amount_minor, interval, self.trial_days, intro)


def _columns_as_stored(model: type[Base]) -> list[sa.Label]:
    """Return the columns of rows that are read only to be compared: JSON and times stay text."""
    return [sa.cast(column, sa.Text).label(column.key) for column in model.__table__.columns]


FEATURES = CompiledStatement(sa.select(Plan.code, Plan.features, Plan.includes, Plan.addon_features))
"""Of all plans, which are few: the requests of a household that subscribes through an app store read it."""
ADDON_FEATURES = CompiledStatement(sa.select(Plan.code, Plan.addon_features))
"""Of all plans, which are few: most requests of a household with an add-on read it."""
PLANS_AS_STORED = CompiledStatement(sa.select(*_columns_as_stored(Plan)).order_by(Plan.id))
PRICES_AS_STORED = CompiledStatement(
    sa.select(*_columns_as_stored(Price))
    .join(Plan, Plan.id == Price.plan_id)
    .where(Price.retired_at.is_(None))
    .order_by(Plan.id, Price.id)
)
