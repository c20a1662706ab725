"""indexes of failed jobs and deliveries, of what housekeeping deletes, and of the foreign keys that this checks"""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_jobs_failed_id", "jobs", "id", "failed_at IS NOT NULL"),
    ("ix_jobs_done_at", "jobs", "done_at", "done_at IS NOT NULL"),
    ("ix_webhook_deliveries_failed_id", "webhook_deliveries", "id", "status = 'failed'"),
    ("ix_device_trusts_given_at", "device_trusts", "given_at", None),
    ("ix_pending_flows_session_id", "pending_flows", "session_id", "session_id IS NOT NULL"),
    ("ix_sessions_device_id", "sessions", "device_id", None),
)
"""(name, table, column, condition)"""


def upgrade():
    for name, table, column, condition in INDEXES:
        where = sa.text(condition) if condition else None
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)


def downgrade():
    for name, table, _, _ in reversed(INDEXES):
        op.drop_index(name, table)
