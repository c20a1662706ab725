"""plans and prices, coupons and gifts; subscriptions and their events; invoices, payments, the ledger"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


BOOKS = ("receivable", "customer_credit", "revenue", "tax", "cash", "goodwill", "written_off")


def where(condition):
    """The rows that a partial index holds, for both databases."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade():
    create_offers()
    create_subscriptions()
    create_invoices()
    create_payments()
    create_webhooks()


def create_offers():
    op.create_table(
        "plans",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("code", sa.String(), nullable=False, unique=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String()),
        sa.Column("features", Json, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
    )
    op.create_table(
        "prices",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("plan_id", sa.String(), sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("interval_count", sa.Integer(), nullable=False),
        sa.Column("trial_days", sa.Integer(), nullable=False),
        sa.Column("intro_amount_minor", sa.BigInteger()),
        sa.Column("intro_periods", sa.Integer()),
        sa.Column("tax", sa.String(), nullable=False),
        sa.Column("countries", Json),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("retired_at", UtcTime()),
        sa.CheckConstraint("interval IN ('day', 'week', 'month', 'year')", name=op.f("ck_prices_interval")),
        sa.CheckConstraint("amount_minor >= 0", name=op.f("ck_prices_amount")),
        sa.CheckConstraint("tax IN ('inclusive', 'exclusive')", name=op.f("ck_prices_tax")),
    )
    op.create_index("ix_prices_plan_id", "prices", ["plan_id", "id"])
    op.create_table(
        "coupons",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("code", sa.String(), nullable=False, unique=True),
        sa.Column("percent_ppm", sa.Integer()),
        sa.Column("amount_off_minor", sa.BigInteger()),
        sa.Column("currency", sa.String()),
        sa.Column("duration", sa.String(), nullable=False),
        sa.Column("periods", sa.Integer()),
        sa.Column("max_redemptions", sa.Integer()),
        sa.Column("redeemed", sa.Integer(), nullable=False),
        sa.Column("expires_at", UtcTime()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("duration IN ('once', 'repeating', 'forever')", name=op.f("ck_coupons_duration")),
        sa.CheckConstraint("(percent_ppm IS NULL) <> (amount_off_minor IS NULL)", name=op.f("ck_coupons_one_way_off")),
    )
    op.create_table(
        "gift_codes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("code", sa.String(), nullable=False, unique=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", UtcTime()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("redeemed_at", UtcTime()),
        sa.Column("redeemed_by", sa.String(), sa.ForeignKey("accounts.id")),
    )
    op.create_table(
        "tax_rates",
        sa.Column("country", sa.String(), primary_key=True),
        sa.Column("rate_ppm", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
    )


def create_subscriptions():
    op.create_table(
        "payment_methods",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("brand", sa.String()),
        sa.Column("last4", sa.String()),
        sa.Column("exp_month", sa.Integer()),
        sa.Column("exp_year", sa.Integer()),
        sa.Column("fingerprint", sa.String()),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("removed_at", UtcTime()),
    )
    op.create_index("ix_payment_methods_account_id", "payment_methods", ["account_id", "id"])
    op.create_index("ix_payment_methods_fingerprint", "payment_methods", ["fingerprint"])
    op.create_index("uq_payment_methods_default", "payment_methods", ["account_id"], unique=True, **where("is_default"))
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("plan_id", sa.String(), sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("price_id", sa.String(), sa.ForeignKey("prices.id"), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("time_zone", sa.String(), nullable=False),
        sa.Column("payment_method_id", sa.String(), sa.ForeignKey("payment_methods.id")),
        sa.Column("started_on", sa.Date(), nullable=False),
        sa.Column("anchor_day", sa.Integer()),
        sa.Column("period_start", sa.Date()),
        sa.Column("period_end", sa.Date()),
        sa.Column("trial_end", sa.Date()),
        sa.Column("access_until", UtcTime()),
        sa.Column("cancel_at", sa.Date()),
        sa.Column("canceled_at", UtcTime()),
        sa.Column("cancel_reason", sa.String()),
        sa.Column("cancel_feedback", sa.String()),
        sa.Column("paused_at", UtcTime()),
        sa.Column("resumes_at", UtcTime()),
        sa.Column("pending_price_id", sa.String(), sa.ForeignKey("prices.id")),
        sa.Column("pending_on", sa.Date()),
        sa.Column("past_due_since", sa.Date()),
        sa.Column("latest_invoice_id", sa.String()),
        sa.Column("due_at", UtcTime()),
        sa.Column("reminded_of", sa.Date()),
        sa.Column("parked_at", UtcTime()),
        sa.Column("parked_reason", sa.String()),
        sa.Column("request_key", sa.String(), unique=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('incomplete', 'trialing', 'active', 'past_due', 'paused', 'canceled')",
            name=op.f("ck_subscriptions_status"),
        ),
    )
    op.create_index("ix_subscriptions_account_id", "subscriptions", ["account_id", "id"])
    op.create_index("ix_subscriptions_price_id", "subscriptions", ["price_id", "id"])
    op.create_index(
        "uq_subscriptions_live_account",
        "subscriptions",
        ["account_id"],
        unique=True,
        **where("status IN ('incomplete', 'trialing', 'active', 'past_due', 'paused')"),
    )
    op.create_table(
        "subscription_events",
        sa.Column("subscription_id", sa.String(), sa.ForeignKey("subscriptions.id"), primary_key=True),
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.Column("actor", sa.String()),
        sa.Column("at", UtcTime(), nullable=False),
    )
    op.create_table(
        "discounts",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("subscription_id", sa.String(), sa.ForeignKey("subscriptions.id"), nullable=False),
        sa.Column("coupon_id", sa.String(), sa.ForeignKey("coupons.id"), nullable=False),
        sa.Column("periods_used", sa.Integer(), nullable=False),
        sa.Column("used_minor", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime()),
    )
    op.create_index("uq_discounts_subscription_coupon", "discounts", ["subscription_id", "coupon_id"], unique=True)


def create_invoices():
    op.create_table(
        "invoice_numbers",
        sa.Column("series", sa.String(), primary_key=True),
        sa.Column("last", sa.Integer(), nullable=False),
    )
    op.create_table(
        "invoices",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("subscription_id", sa.String(), sa.ForeignKey("subscriptions.id")),
        sa.Column("number", sa.String(), unique=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("customer", Json, nullable=False),
        sa.Column("tax_name", sa.String()),
        sa.Column("subtotal_minor", sa.BigInteger(), nullable=False),
        sa.Column("discount_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("credit_applied_minor", sa.BigInteger(), nullable=False),
        sa.Column("amount_paid_minor", sa.BigInteger(), nullable=False),
        sa.Column("balance_minor", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", UtcTime()),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_failed_on", sa.Date()),
        sa.Column("next_attempt_on", sa.Date()),
        sa.CheckConstraint(
            "status IN ('draft', 'open', 'paid', 'void', 'uncollectible')", name=op.f("ck_invoices_status")
        ),
    )
    op.create_index("ix_invoices_account_id", "invoices", ["account_id", "id"])
    op.create_index("ix_invoices_open", "invoices", ["account_id", "id"], **where("status = 'open'"))
    op.create_index("ix_invoices_subscription_id", "invoices", ["subscription_id", "id"])
    op.create_table(
        "invoice_lines",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("invoice_id", sa.String(), sa.ForeignKey("invoices.id"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), sa.ForeignKey("subscriptions.id")),
        sa.Column("identity", sa.String()),
        sa.Column("cause", sa.String()),
        sa.Column("item", sa.String()),
        sa.Column("price_id", sa.String(), sa.ForeignKey("prices.id")),
        sa.Column("coupon_id", sa.String(), sa.ForeignKey("coupons.id")),
        sa.Column("credits_line_id", sa.String(), sa.ForeignKey("invoice_lines.id")),
        sa.Column("period_start", sa.Date()),
        sa.Column("period_end", sa.Date()),
        sa.Column("days", sa.Integer()),
        sa.Column("full_days", sa.Integer()),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("discount_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_ppm", sa.Integer(), nullable=False),
        sa.Column("tax_inclusive", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('charge', 'credit', 'trial', 'discount', 'one_off')", name=op.f("ck_invoice_lines_kind")
        ),
    )
    op.create_index("ix_invoice_lines_invoice_id", "invoice_lines", ["invoice_id", "position"])
    op.create_index("uq_invoice_lines_identity", "invoice_lines", ["subscription_id", "identity"], unique=True)
    op.create_index(
        "uq_invoice_lines_renewal",
        "invoice_lines",
        ["subscription_id", "item", "period_start"],
        unique=True,
        **where("kind = 'charge' AND cause = 'renewal'"),
    )
    op.create_table(
        "credit_notes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("invoice_id", sa.String(), sa.ForeignKey("invoices.id"), nullable=False),
        sa.Column("number", sa.String(), nullable=False, unique=True),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_credit_notes_invoice_id", "credit_notes", ["invoice_id", "id"])
    op.create_table(
        "credit_note_lines",
        sa.Column("credit_note_id", sa.String(), sa.ForeignKey("credit_notes.id"), primary_key=True),
        sa.Column("line_id", sa.String(), sa.ForeignKey("invoice_lines.id"), primary_key=True),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_credit_note_lines_line_id", "credit_note_lines", ["line_id"])


def create_payments():
    op.create_table(
        "payments",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("invoice_id", sa.String(), sa.ForeignKey("invoices.id"), nullable=False),
        sa.Column("payment_method_id", sa.String(), sa.ForeignKey("payment_methods.id"), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("on_session", sa.Boolean(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("provider_reference", sa.String()),
        sa.Column("decline_code", sa.String()),
        sa.Column("next_action", Json),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("settled_at", UtcTime()),
        sa.CheckConstraint(
            "status IN ('pending', 'unknown', 'requires_action', 'succeeded', 'failed', 'disputed')",
            name=op.f("ck_payments_status"),
        ),
    )
    op.create_index("ix_payments_account_id", "payments", ["account_id", "id"])
    op.create_index("ix_payments_invoice_id", "payments", ["invoice_id", "id"])
    op.create_index("ix_payments_provider_reference", "payments", ["provider_reference"])
    op.create_index(
        "uq_payments_in_flight",
        "payments",
        ["invoice_id"],
        unique=True,
        **where("status IN ('pending', 'unknown', 'requires_action')"),
    )
    op.create_table(
        "refunds",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("payment_id", sa.String(), sa.ForeignKey("payments.id"), nullable=False),
        sa.Column("invoice_id", sa.String(), sa.ForeignKey("invoices.id"), nullable=False),
        sa.Column("credit_note_id", sa.String(), sa.ForeignKey("credit_notes.id")),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("provider_reference", sa.String()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("settled_at", UtcTime()),
        sa.CheckConstraint("status IN ('pending', 'unknown', 'succeeded', 'failed')", name=op.f("ck_refunds_status")),
    )
    op.create_index("ix_refunds_payment_id", "refunds", ["payment_id", "id"])
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("journal_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("book", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("invoice_id", sa.String(), sa.ForeignKey("invoices.id")),
        sa.Column("payment_id", sa.String(), sa.ForeignKey("payments.id")),
        sa.Column("note", sa.String()),
        sa.Column("at", UtcTime(), nullable=False),
        sa.CheckConstraint(f"book IN {BOOKS}", name=op.f("ck_ledger_entries_book")),
    )
    op.create_index("ix_ledger_entries_account_book", "ledger_entries", ["account_id", "book", "currency", "id"])
    op.create_index("ix_ledger_entries_invoice_id", "ledger_entries", ["invoice_id", "book"])
    op.create_index("ix_ledger_entries_journal_id", "ledger_entries", ["journal_id"])
    op.create_table(
        "provider_events",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reference", sa.String()),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("done_at", UtcTime()),
    )
    op.create_table(
        "sandbox_charges",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("decline_code", sa.String()),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
    )
    op.create_index("uq_sandbox_charges_key", "sandbox_charges", ["key"], unique=True)
    op.create_table(
        "sandbox_payment_plans",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("details", Json, nullable=False),
    )


def create_webhooks():
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("kinds", Json),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("old_secret", sa.String()),
        sa.Column("old_secret_until", UtcTime()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("disabled_at", UtcTime()),
        sa.Column("removed_at", UtcTime()),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id")),
        sa.Column("data", Json, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
    )
    op.create_index("ix_events_account_id", "events", ["account_id", "id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("endpoint_id", sa.String(), sa.ForeignKey("webhook_endpoints.id"), nullable=False),
        sa.Column("event_id", sa.String(), sa.ForeignKey("events.id"), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("response_status", sa.Integer()),
        sa.Column("error", sa.String()),
        sa.Column("next_at", UtcTime()),
        sa.Column("delivered_at", UtcTime()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_deliveries_status")),
    )
    op.create_index("ix_webhook_deliveries_endpoint_id", "webhook_deliveries", ["endpoint_id", "id"])


def downgrade():
    for table in (
        "webhook_deliveries",
        "events",
        "webhook_endpoints",
        "sandbox_payment_plans",
        "sandbox_charges",
        "provider_events",
        "ledger_entries",
        "refunds",
        "payments",
        "credit_note_lines",
        "credit_notes",
        "invoice_lines",
        "invoices",
        "invoice_numbers",
        "discounts",
        "subscription_events",
        "subscriptions",
        "payment_methods",
        "tax_rates",
        "gift_codes",
        "coupons",
        "prices",
        "plans",
    ):
        op.drop_table(table)
