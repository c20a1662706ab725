"""sandbox clocks of single accounts; since when a subscription is suspended; which period a coupon counted"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

HAS_OWNER = sa.text("clock_owner IS NOT NULL")


def upgrade():
    op.create_table(
        "sandbox_account_clocks",
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("shows", UtcTime(), nullable=False),
        sa.Column("moved_from", UtcTime(), nullable=False),
        sa.Column("target", UtcTime(), nullable=False),
        sa.Column("jobs_run", sa.Integer(), nullable=False),
        sa.Column("moving_until", UtcTime()),
    )
    op.add_column("discounts", sa.Column("counted_period", sa.Date()))
    op.add_column("discounts", sa.Column("counted_by", sa.String()))
    op.add_column("discounts", sa.Column("removed_at", UtcTime()))
    op.add_column("subscriptions", sa.Column("suspended_since", sa.Date()))
    op.add_column("jobs", sa.Column("clock_owner", sa.String()))
    op.create_index(
        "ix_jobs_clock_owner",
        "jobs",
        ["clock_owner", "run_at", "id"],
        sqlite_where=HAS_OWNER,
        postgresql_where=HAS_OWNER,
    )


def downgrade():
    with op.batch_alter_table("discounts") as discounts:
        for column in ("removed_at", "counted_by", "counted_period"):
            discounts.drop_column(column)
    with op.batch_alter_table("subscriptions") as subscriptions:
        subscriptions.drop_column("suspended_since")
    op.drop_index("ix_jobs_clock_owner", "jobs")
    op.drop_column("jobs", "clock_owner")
    op.drop_table("sandbox_account_clocks")
