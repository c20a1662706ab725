"""subscriptions that an app store bills, with their purchases, transactions and products"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0088"
down_revision = "0087"
branch_labels = None
depends_on = None

IS_LIVE = sa.text("status IN ('incomplete', 'trialing', 'active', 'past_due', 'paused')")


def upgrade():
    op.add_column("plans", sa.Column("store_products", Json, nullable=False, server_default="[]"))
    op.add_column("accounts", sa.Column("store_access", Json))
    op.add_column("subscriptions", sa.Column("source", sa.String()))
    op.create_table(
        "store_products",
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("product_id", sa.String(), primary_key=True),
        sa.Column("base_plan_id", sa.String(), primary_key=True),
        sa.Column("plan_id", sa.String(), sa.ForeignKey("plans.id"), nullable=False),
    )
    op.create_index("ix_store_products_plan_id", "store_products", ["plan_id"])
    op.create_table(
        "store_subscriptions",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("plan_id", sa.String(), sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("base_plan_id", sa.String()),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("store_state", sa.String(), nullable=False),
        sa.Column("started_at", UtcTime()),
        sa.Column("period_start", UtcTime()),
        sa.Column("period_end", UtcTime()),
        sa.Column("access_until", UtcTime()),
        sa.Column("renews", sa.Boolean(), nullable=False),
        sa.Column("renewal_product_id", sa.String()),
        sa.Column("resumes_at", UtcTime()),
        sa.Column("canceled_at", UtcTime()),
        sa.Column("cancel_reason", sa.String()),
        sa.Column("offer", sa.String()),
        sa.Column("had_trial", sa.Boolean(), nullable=False),
        sa.Column("family_shared", sa.Boolean(), nullable=False),
        sa.Column("price_consent", sa.String()),
        sa.Column("acknowledged", sa.Boolean(), nullable=False),
        sa.Column("fetched_at", UtcTime(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('incomplete', 'trialing', 'active', 'past_due', 'paused', 'canceled')", name="status"
        ),
    )
    op.create_index("ix_store_subscriptions_account_id", "store_subscriptions", ["account_id", "id"])
    op.create_index(
        "ix_store_subscriptions_fetched_at",
        "store_subscriptions",
        ["fetched_at"],
        sqlite_where=IS_LIVE,
        postgresql_where=IS_LIVE,
    )
    op.create_table(
        "store_purchases",
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("subscription_id", sa.String(), sa.ForeignKey("store_subscriptions.id"), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_store_purchases_subscription_id", "store_purchases", ["subscription_id"])
    op.create_table(
        "store_transactions",
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id")),
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("plan_id", sa.String(), sa.ForeignKey("plans.id"), nullable=False),
        sa.Column("product_id", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("is_after_first_year", sa.Boolean(), nullable=False),
        sa.Column("purchased_at", UtcTime(), nullable=False),
        sa.Column("refunded_at", UtcTime()),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("stated_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_store_transactions_account_id", "store_transactions", ["account_id"])
    op.create_index("ix_store_transactions_subscription_id", "store_transactions", ["subscription_id"])
    op.create_index("ix_store_transactions_purchased_at", "store_transactions", ["purchased_at"])
    op.create_index("ix_store_transactions_refunded_at", "store_transactions", ["refunded_at"])


def downgrade():
    op.drop_table("store_transactions")
    op.drop_table("store_purchases")
    op.drop_table("store_subscriptions")
    op.drop_table("store_products")
    op.drop_column("subscriptions", "source")
    op.drop_column("accounts", "store_access")
    op.drop_column("plans", "store_products")
