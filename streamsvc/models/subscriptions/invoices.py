"""invoices and their lines. Once issued, only the amount paid changes."""

from datetime import date, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column, relationship

from streamsvc.rules.billing.invoicing import STANDARD_CATEGORY, TaxedAmount, sum_by_rate
from streamsvc.rules.billing.number_series import format_number
from streamsvc.storage import lock_order
from streamsvc.storage.database import Base, Json, UtcTime, batching_session, db, insert, new_id
from streamsvc.storage.owned import OwnedByAccount

if TYPE_CHECKING:
    from streamsvc.models.subscriptions.credit_notes import CreditNote
    from streamsvc.models.subscriptions.payments import Payment


class Invoice(OwnedByAccount, Base):
    __tablename__ = "invoices"
    __table_args__ = (
        sa.CheckConstraint("status IN ('draft', 'open', 'paid', 'void', 'uncollectible')", name="status"),
        sa.Index("ix_invoices_account_id", "account_id", "id"),
        sa.Index("ix_invoices_subscription_id", "subscription_id", "id"),
        sa.Index(
            "ix_invoices_open",
            "account_id",
            "id",
            sqlite_where=sa.text("status = 'open'"),
            postgresql_where=sa.text("status = 'open'"),
        ),
        sa.Index(
            "ix_invoices_drafts",
            "id",
            sqlite_where=sa.text("status = 'draft'"),
            postgresql_where=sa.text("status = 'draft'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("inv"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    subscription_id: Mapped[str | None] = mapped_column(sa.ForeignKey("subscriptions.id"))
    number: Mapped[str | None] = mapped_column(unique=True)
    """Allocated when the invoice is issued, without gaps; None for a first invoice that was never paid, and for an
    invoice with a total of zero, unless a setting numbers those too."""
    status: Mapped[str]
    reason: Mapped[str]
    """Why it was issued: start, renewal, change, cancellation, one_off, …"""
    currency: Mapped[str]
    customer: Mapped[dict] = mapped_column(Json)
    """The customer's name, email, address, country and language at the time of issue."""
    seller: Mapped[dict | None] = mapped_column(Json)
    """The seller's name, address and numbers at the time of issue; None for invoices from before it was stored."""
    tax_name: Mapped[str | None]
    subtotal_minor: Mapped[int] = mapped_column(sa.BigInteger)
    discount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    tax_minor: Mapped[int] = mapped_column(sa.BigInteger)
    total_minor: Mapped[int] = mapped_column(sa.BigInteger)
    credit_applied_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    amount_paid_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Payments minus refunds without a credit note."""
    balance_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """The amount still owed: the invoice's part of the ledger's receivables."""
    issued_at: Mapped[datetime | None] = mapped_column(UtcTime)
    due_date: Mapped[date]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    attempts: Mapped[int] = mapped_column(default=0)
    first_failed_on: Mapped[date | None]
    next_attempt_on: Mapped[date | None]
    finalizes_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When a draft gets its number and is charged; None if it is held."""

    lines: Mapped[list["InvoiceLine"]] = relationship(order_by="InvoiceLine.position", lazy="selectin")
    payments: Mapped[list["Payment"]] = relationship(order_by="Payment.id")
    credit_notes: Mapped[list["CreditNote"]] = relationship(order_by="CreditNote.id", viewonly=True)

    @property
    def amount_due_minor(self) -> int:
        """The amount to collect: the total minus account credit applied."""
        return max(0, self.total_minor - self.credit_applied_minor)

    @property
    def tax_breakdown(self) -> list[TaxedAmount]:
        """The net amount and the tax of each rate on the invoice; under reverse charge the rate is 0."""
        return sum_by_rate(
            TaxedAmount(
                line.tax_category or STANDARD_CATEGORY,
                line.tax_name or self.tax_name,
                line.tax_ppm,
                line.net_minor - (line.tax_minor if line.tax_inclusive else 0),
                line.tax_minor,
            )
            for line in self.lines
            if line.kind != "discount"
        )

    @classmethod
    def list_open(cls, account_id: str) -> "list[Invoice]":
        """List the account's open invoices, oldest first."""
        return cls._list_open(cls.account_id, account_id)

    @classmethod
    def list_open_for_subscription(cls, subscription_id: str) -> "list[Invoice]":
        """List the subscription's open invoices, oldest first, also those of a previous owner."""
        return cls._list_open(cls.subscription_id, subscription_id)

    @classmethod
    def select_drafts(cls) -> "sa.Select[Invoice]":
        """Select all drafts; the status is a literal, so that the partial index is used."""
        return sa.select(cls).where(cls.status == sa.literal_column("'draft'"))

    @classmethod
    def list_drafts(cls, subscription_id: str) -> "list[Invoice]":
        """List the subscription's drafts, oldest first."""
        drafts = cls.select_drafts().where(cls.subscription_id == subscription_id)
        return list(db.session.scalars(drafts.order_by(cls.id)))

    @classmethod
    def _list_open(cls, column: InstrumentedAttribute, value: str) -> "list[Invoice]":
        invoices = batching_session().preloaded(column, value)
        if invoices is None:
            statement = sa.select(cls).where(column == value, cls.status == "open").order_by(cls.id)
            invoices = list(db.session.scalars(statement))
        return [invoice for invoice in invoices if invoice.status == "open"]


class InvoiceLine(Base):
    __tablename__ = "invoice_lines"
    __table_args__ = (
        sa.CheckConstraint("kind IN ('charge', 'credit', 'trial', 'discount', 'one_off')", name="kind"),
        sa.Index("uq_invoice_lines_identity", "subscription_id", "identity", unique=True),
        sa.Index(
            "ix_invoice_lines_credits_line_id",
            "credits_line_id",
            sqlite_where=sa.text("credits_line_id IS NOT NULL"),
            postgresql_where=sa.text("credits_line_id IS NOT NULL"),
        ),
        sa.Index(
            "uq_invoice_lines_renewal",
            "subscription_id",
            "item",
            "period_start",
            unique=True,
            sqlite_where=sa.text("kind = 'charge' AND cause = 'renewal'"),
            postgresql_where=sa.text("kind = 'charge' AND cause = 'renewal'"),
        ),
        sa.Index("ix_invoice_lines_invoice_id", "invoice_id", "position"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("lin"))
    invoice_id: Mapped[str] = mapped_column(sa.ForeignKey("invoices.id"))
    position: Mapped[int]
    kind: Mapped[str]
    description: Mapped[str]
    subscription_id: Mapped[str | None] = mapped_column(sa.ForeignKey("subscriptions.id"))
    identity: Mapped[str | None]
    """The line identity of the billing rules, unique per subscription, so that running twice bills once."""
    cause: Mapped[str | None]
    item: Mapped[str | None]
    price_id: Mapped[str | None] = mapped_column(sa.ForeignKey("prices.id"))
    coupon_id: Mapped[str | None] = mapped_column(sa.ForeignKey("coupons.id"))
    credits_line_id: Mapped[str | None] = mapped_column(sa.ForeignKey("invoice_lines.id"))
    period_start: Mapped[date | None]
    period_end: Mapped[date | None]
    days: Mapped[int | None]
    full_days: Mapped[int | None]
    quantity: Mapped[int] = mapped_column(default=1)
    amount_minor: Mapped[int] = mapped_column(sa.BigInteger)
    discount_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    """Its share of the invoice's discounts."""
    tax_minor: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    tax_ppm: Mapped[int] = mapped_column(default=0)
    tax_inclusive: Mapped[bool] = mapped_column(default=False)
    tax_category: Mapped[str | None]
    """The category whose rate it has; None on older lines and on discounts: `standard`."""
    tax_name: Mapped[str | None]
    """The name of the tax; None on older lines: that of the invoice."""

    @property
    def net_minor(self) -> int:
        return self.amount_minor - self.discount_minor


class InvoiceNumber(Base):
    """The last number of each series, allocated in the invoice's own transaction, so that none is lost."""

    __tablename__ = "invoice_numbers"

    series: Mapped[str] = mapped_column(primary_key=True)
    last: Mapped[int]

    @classmethod
    def allocate(cls, series: str) -> str:
        """Allocate the next number."""
        return cls.allocate_block(series, 1)[0]

    @classmethod
    def allocate_block(cls, series: str, count: int) -> list[str]:
        """Allocate the next `count` numbers, in order."""
        lock_order.note_lock(db.session(), lock_order.Rank.INVOICE_NUMBERS, series)
        last = db.session.scalars(
            insert(cls)
            .values({"series": series, "last": count})
            .on_conflict_do_update(index_elements=["series"], set_={"last": cls.last + count})
            .returning(cls.last)
        ).one()
        return [format_number(series, number) for number in range(last - count + 1, last + 1)]
