"""Subscriptions that an app store bills: what the store said of them last, and what it was paid."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from streamsvc.models.subscriptions.subscriptions import status_condition
from streamsvc.rules.billing.access import LIVE_STATUSES, STATUSES
from streamsvc.storage.database import Base, UtcTime, db, new_id
from streamsvc.storage.owned import OwnedByAccount

if TYPE_CHECKING:
    from streamsvc.models.subscriptions.plans import Plan


class StoreProduct(Base):
    """Which plan a store's product buys; plans.store_products has the same."""

    __tablename__ = "store_products"
    __table_args__ = (sa.Index("ix_store_products_plan_id", "plan_id"),)

    source: Mapped[str] = mapped_column(primary_key=True)
    product_id: Mapped[str] = mapped_column(primary_key=True)
    base_plan_id: Mapped[str] = mapped_column(primary_key=True)
    """Google Play's base plan; empty: every base plan of the product that has no row of its own."""
    plan_id: Mapped[str] = mapped_column(sa.ForeignKey("plans.id"))

    @classmethod
    def find_plan_id(cls, source: str, product_id: str, base_plan_id: str | None) -> str | None:
        """Find the plan that the product buys; None if it is mapped to none."""
        rows = db.session.scalars(sa.select(cls).where(cls.source == source, cls.product_id == product_id))
        plan_ids = {row.base_plan_id: row.plan_id for row in rows}
        return plan_ids.get(base_plan_id or "") or plan_ids.get("")


class StoreSubscription(OwnedByAccount, Base):
    """The state of a store's subscription as of `fetched_at`; there are no invoices and no ledger entries for it."""

    __tablename__ = "store_subscriptions"
    __table_args__ = (
        sa.CheckConstraint(status_condition("status", STATUSES), name="status"),
        sa.Index("ix_store_subscriptions_account_id", "account_id", "id"),
        sa.Index(
            "ix_store_subscriptions_fetched_at",
            "fetched_at",
            sqlite_where=status_condition("status", LIVE_STATUSES),
            postgresql_where=status_condition("status", LIVE_STATUSES),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("sub"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    source: Mapped[str]
    environment: Mapped[str]
    """`production`, or `sandbox` for a purchase that cost nothing."""
    key: Mapped[str]
    """The store's name for it: an original transaction id, or the latest purchase token."""
    plan_id: Mapped[str] = mapped_column(sa.ForeignKey("plans.id"))
    product_id: Mapped[str]
    base_plan_id: Mapped[str | None]
    status: Mapped[str]
    store_state: Mapped[str]
    """The state in the store's own words."""
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    period_start: Mapped[datetime | None] = mapped_column(UtcTime)
    period_end: Mapped[datetime | None] = mapped_column(UtcTime)
    access_until: Mapped[datetime | None] = mapped_column(UtcTime)
    """End of access; None: no access."""
    renews: Mapped[bool]
    renewal_product_id: Mapped[str | None]
    """The product of the next period, if it is another one."""
    resumes_at: Mapped[datetime | None] = mapped_column(UtcTime)
    canceled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    cancel_reason: Mapped[str | None]
    offer: Mapped[str | None]
    had_trial: Mapped[bool]
    family_shared: Mapped[bool]
    price_consent: Mapped[str | None]
    """`pending` or `given`, while the store raises the price."""
    acknowledged: Mapped[bool]
    history_revision: Mapped[str | None]
    """Up to where the payments in the store's history are recorded, in its own terms."""
    fetched_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the request began that returned this state."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    plan: Mapped["Plan"] = relationship()

    @classmethod
    def list_of_account(cls, account_id: str) -> "list[StoreSubscription]":
        """List the account's subscriptions, oldest first."""
        return list(db.session.scalars(sa.select(cls).where(cls.account_id == account_id).order_by(cls.id)))

    @classmethod
    def select_stale(cls, before: datetime) -> "sa.Select[StoreSubscription]":
        """Select the live subscriptions whose state was fetched before a moment."""
        return sa.select(cls).where(status_condition("status", LIVE_STATUSES), cls.fetched_at < before)


class StorePurchase(Base):
    """A store's name for a subscription, held once in the service: it decides whose the subscription is."""

    __tablename__ = "store_purchases"
    __table_args__ = (sa.Index("ix_store_purchases_subscription_id", "subscription_id"),)

    source: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    subscription_id: Mapped[str] = mapped_column(sa.ForeignKey("store_subscriptions.id"))
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    @classmethod
    def find_subscription(cls, source: str, keys: Iterable[str]) -> StoreSubscription | None:
        """Find the subscription that has one of these names; None if it is not known."""
        statement = sa.select(StoreSubscription).join(cls, cls.subscription_id == StoreSubscription.id)
        statement = statement.where(cls.source == source, cls.key.in_(list(keys))).limit(1)
        return db.session.scalar(statement.execution_options(populate_existing=True))


class StoreTransaction(Base):
    """A payment to a store, for reports: it is in no book of ours."""

    __tablename__ = "store_transactions"
    __table_args__ = (
        sa.Index("ix_store_transactions_account_id", "account_id"),
        sa.Index("ix_store_transactions_subscription_id", "subscription_id"),
        sa.Index("ix_store_transactions_purchased_at", "purchased_at"),
        sa.Index("ix_store_transactions_refunded_at", "refunded_at"),
    )

    source: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str | None] = mapped_column(sa.ForeignKey("accounts.id"))
    """None once the account is erased."""
    subscription_id: Mapped[str]
    plan_id: Mapped[str] = mapped_column(sa.ForeignKey("plans.id"))
    product_id: Mapped[str]
    currency: Mapped[str]
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    is_after_first_year: Mapped[bool]
    """Whether it was made a year or more after the subscription began, when a store's commission may be lower."""
    purchased_at: Mapped[datetime] = mapped_column(UtcTime)
    refunded_at: Mapped[datetime | None] = mapped_column(UtcTime)
    refunded_minor: Mapped[int] = mapped_column(sa.BigInteger)
    stated_at: Mapped[datetime] = mapped_column(UtcTime)
    """When the store said so: what it says later counts."""
