"""a token of the request that holds an idempotency key, and lanes of jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.add_column(sa.Column("lease", sa.String()))
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("lane", sa.String(), nullable=False, server_default="default"))
    is_open = sa.text("done_at IS NULL AND failed_at IS NULL")
    op.create_index(
        "ix_jobs_open_lane_run_at",
        "jobs",
        ["lane", "run_at", "id"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )


def downgrade():
    op.drop_index("ix_jobs_open_lane_run_at", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("lane")
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.drop_column("lease")
