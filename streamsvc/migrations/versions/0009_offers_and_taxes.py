"""coupons for some plans and customers, referrals, price migrations that can be taken back, VAT numbers"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None

AUDIENCE = "audience IN ('anyone', 'new', 'returning')"


def account(name="account_id", **more):
    return sa.Column(name, sa.String(), sa.ForeignKey("accounts.id"), nullable=False, **more)


def upgrade():
    with op.batch_alter_table("coupons") as coupons:
        coupons.add_column(sa.Column("plans", Json))
        coupons.add_column(sa.Column("audience", sa.String(), nullable=False, server_default="anyone"))
        coupons.add_column(sa.Column("combines", sa.Boolean(), nullable=False, server_default=sa.true()))
        coupons.add_column(sa.Column("max_per_account", sa.Integer()))
        coupons.create_check_constraint("audience", AUDIENCE)
    op.add_column("subscriptions", sa.Column("device_hash", sa.String()))
    op.create_index("ix_subscriptions_device_hash", "subscriptions", ["device_hash"])
    op.create_table(
        "tax_ids",
        account(primary_key=True),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("checked_at", UtcTime()),
        sa.Column("reference", sa.String()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.CheckConstraint("status IN ('unchecked', 'valid', 'invalid')", name="status"),
    )
    op.create_table(
        "price_migrations",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("from_price_id", sa.String(), sa.ForeignKey("prices.id"), nullable=False),
        sa.Column("to_price_id", sa.String(), sa.ForeignKey("prices.id"), nullable=False),
        sa.Column("effective", sa.Date(), nullable=False),
        sa.Column("notice_days", sa.Integer(), nullable=False),
        sa.Column("started_before", sa.Date()),
        sa.Column("country", sa.String()),
        sa.Column("can_decline", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("withdrawn_at", UtcTime()),
    )
    op.create_index("ix_price_migrations_from_price_id", "price_migrations", ["from_price_id", "id"])
    referrals()


def referrals():
    op.create_table(
        "referral_codes",
        account(primary_key=True),
        sa.Column("code", sa.String(), nullable=False, unique=True),
        sa.Column("created_at", UtcTime(), nullable=False),
    )
    op.create_table(
        "referrals",
        account(primary_key=True),
        account("referrer_id"),
        sa.Column("subscription_id", sa.String(), sa.ForeignKey("subscriptions.id"), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("rewarded_at", UtcTime()),
    )
    op.create_index("ix_referrals_referrer_id", "referrals", ["referrer_id"])
    op.create_table(
        "referral_rewards",
        sa.Column("currency", sa.String(), primary_key=True),
        sa.Column("referrer_minor", sa.BigInteger(), nullable=False),
        sa.Column("newcomer_minor", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
    )


def downgrade():
    for table in ("referral_rewards", "referrals", "referral_codes", "price_migrations", "tax_ids"):
        op.drop_table(table)
    op.drop_index("ix_subscriptions_device_hash", "subscriptions")
    op.drop_column("subscriptions", "device_hash")
    with op.batch_alter_table("coupons") as coupons:
        coupons.drop_constraint("audience", type_="check")
        for column in ("max_per_account", "combines", "audience", "plans"):
            coupons.drop_column(column)
