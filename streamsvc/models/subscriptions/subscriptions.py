"""subscriptions: the current projection. subscription_events: the event log from which it is computed.

Authentication reads only `account_id`, `status`, `access_until` and the plan's `features`: see rules/billing/access.py.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship

from streamsvc.rules.billing.access import LIVE_STATUSES, STATUSES
from streamsvc.storage.database import Base, Json, UtcTime, batching_session, db, new_id
from streamsvc.storage.owned import OwnedByAccount

if TYPE_CHECKING:
    from streamsvc.models.subscriptions.methods import PaymentMethod
    from streamsvc.models.subscriptions.plans import Plan, Price


def status_condition(column: str, values: Iterable[str]) -> sa.TextClause:
    return sa.text(f"{column} IN ({', '.join(repr(word) for word in values)})")


class Subscription(OwnedByAccount, Base):
    __tablename__ = "subscriptions"
    __table_args__ = (
        sa.CheckConstraint(status_condition("status", STATUSES), name="status"),
        sa.Index(
            "uq_subscriptions_live_account",
            "account_id",
            unique=True,
            sqlite_where=status_condition("status", LIVE_STATUSES),
            postgresql_where=status_condition("status", LIVE_STATUSES),
        ),
        sa.Index("ix_subscriptions_account_id", "account_id", "id"),
        sa.Index("ix_subscriptions_price_id", "price_id", "id"),
        sa.Index("ix_subscriptions_planned_price_id", "planned_price_id", "id"),
        sa.Index("ix_subscriptions_device_hash", "device_hash"),
        sa.Index(
            "ix_subscriptions_on_billing_hold",
            "id",
            sqlite_where=sa.text("billing_held_at IS NOT NULL"),
            postgresql_where=sa.text("billing_held_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("sub"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    plan_id: Mapped[str] = mapped_column(sa.ForeignKey("plans.id"))
    price_id: Mapped[str] = mapped_column(sa.ForeignKey("prices.id"))
    status: Mapped[str]
    currency: Mapped[str]
    time_zone: Mapped[str]
    """The time zone whose civil days are billed: the account's at the start."""
    payment_method_id: Mapped[str | None] = mapped_column(sa.ForeignKey("payment_methods.id"))
    """None: the account's default."""
    device_hash: Mapped[str | None]
    """Hash of the device fingerprint: each device gets one trial."""
    started_on: Mapped[date]
    anchor_day: Mapped[int | None]
    anchor_month: Mapped[int | None]
    """The month in which years start, if it was chosen."""
    bridge_start: Mapped[date | None]
    bridge_end: Mapped[date | None]
    """The days from the end of the paid time to the first day of a moved anchor; None if no move is planned."""
    period_start: Mapped[date | None]
    period_end: Mapped[date | None]
    trial_end: Mapped[date | None]
    access_until: Mapped[datetime | None] = mapped_column(UtcTime)
    """End of access; None if no end is known."""
    cancel_at: Mapped[date | None]
    canceled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    cancel_reason: Mapped[str | None]
    cancel_feedback: Mapped[str | None]
    paused_at: Mapped[datetime | None] = mapped_column(UtcTime)
    resumes_at: Mapped[datetime | None] = mapped_column(UtcTime)
    pending_price_id: Mapped[str | None] = mapped_column(sa.ForeignKey("prices.id"))
    pending_on: Mapped[date | None]
    """The next change of the price, by a migration or by the viewer, and the day from which it applies."""
    planned_price_id: Mapped[str | None]
    """The price that the viewer has scheduled, before any migration of it."""
    addon_prices: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    """Price ids by the codes of the add-ons' plans; SubscriptionAddonPrice has the same, to be found by price."""
    open_migrations: Mapped[int] = mapped_column(default=0)
    """How many price migrations are scheduled for it."""
    announced_prices: Mapped[list] = mapped_column(Json, default=list)
    """The changes of prices of which the customer was notified and which are still to come: [item, price id, day]."""
    past_due_since: Mapped[date | None]
    """The civil date on which the earliest unpaid invoice first failed."""
    suspended_since: Mapped[date | None]
    """The first day without access for its debts, while that lasts; also after the earliest of them was paid."""
    addons: Mapped[list | None] = mapped_column(Json)
    """[{item, price_id, quantity, trial_end, ends_at, cancel_at, ends}]: the add-ons of the current period, without
    those that the plan includes. None: not computed yet."""
    addon_grants: Mapped[list | None] = mapped_column(Json)
    """[[item, quantity, moment or null]]: the add-ons' units, and the moment from which on they no longer count."""
    latest_invoice_id: Mapped[str | None]
    due_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the subscription is next due; a job is enqueued for it."""
    reminded_of: Mapped[date | None]
    """The trial end or renewal of which the customer was last reminded."""
    reminded_addons: Mapped[dict[str, str]] = mapped_column(Json, default=dict, server_default="{}")
    """By the codes of the add-ons: the end of its own trial of which the customer was reminded."""
    billing_held_at: Mapped[datetime | None] = mapped_column(UtcTime)
    billing_hold_reason: Mapped[str | None]
    """Start of a billing hold: the books do not reconcile, and nothing is billed until an operator releases it."""
    source: Mapped[str | None]
    """`manual` if an operator started it; otherwise the payment provider, None for older ones."""
    request_key: Mapped[str | None] = mapped_column(unique=True)
    """The idempotency key of the request that created it, so that an interrupted request can continue."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    plan: Mapped["Plan"] = relationship()
    price: Mapped["Price"] = relationship(foreign_keys=[price_id])
    payment_method: Mapped["PaymentMethod | None"] = relationship()

    @classmethod
    def select_on_billing_hold(cls) -> "sa.Select[Subscription]":
        """Select the subscriptions on billing hold."""
        return sa.select(cls).where(cls.billing_held_at.is_not(None))

    @classmethod
    def find_live(cls, account_id: str) -> "Subscription | None":
        subscriptions = batching_session().preloaded(cls.account_id, account_id)
        if subscriptions is None:
            live = sa.select(cls).where(cls.account_id == account_id, cls.status.in_(LIVE_STATUSES))
            return db.session.scalar(live)
        return next((row for row in subscriptions if row.status in LIVE_STATUSES), None)


class SubscriptionAddonPrice(Base):
    """The current price of an add-on."""

    __tablename__ = "subscription_addon_prices"
    __table_args__ = (sa.Index("ix_subscription_addon_prices_price_id", "price_id", "subscription_id"),)

    subscription_id: Mapped[str] = mapped_column(sa.ForeignKey("subscriptions.id"), primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    """The code of the add-on's plan."""
    price_id: Mapped[str] = mapped_column(sa.ForeignKey("prices.id"))


class SubscriptionEvent(Base):
    """Append-only. `kind` and `data` encode an event of rules/billing/facts.py."""

    __tablename__ = "subscription_events"

    subscription_id: Mapped[str] = mapped_column(sa.ForeignKey("subscriptions.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]
    on: Mapped[date]
    data: Mapped[dict] = mapped_column(Json)
    actor: Mapped[str | None]
    """The account, operator or API key that caused it; None for the passing of time."""
    at: Mapped[datetime] = mapped_column(UtcTime)
