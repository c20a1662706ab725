"""indexes of failed jobs and deliveries, of what housekeeping deletes, and of the foreign keys that this checks"""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

DELIVERY_COLUMNS = ["id", "endpoint_id", "event_id", "status"]
INDEXES = (
    ("ix_jobs_failed", "jobs", ["id", "kind", "lane", "failed_at"], "failed_at IS NOT NULL"),
    ("ix_jobs_done_at", "jobs", ["done_at"], "done_at IS NOT NULL"),
    (
        "ix_webhook_deliveries_failed",
        "webhook_deliveries",
        ["id", "endpoint_id", "event_id", "status"],
        "status = 'failed'",
    ),
    ("ix_device_trusts_given_at", "device_trusts", ["given_at"], None),
    ("ix_pending_flows_session_id", "pending_flows", ["session_id"], "session_id IS NOT NULL"),
    ("ix_sessions_device_id", "sessions", ["device_id"], None),
)
"""(name, table, columns, condition)"""


def upgrade():
    for name, table, columns, condition in INDEXES:
        where = sa.text(condition) if condition else None
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def downgrade():
    for name, table, _, _ in reversed(INDEXES):
        op.drop_index(name, table)
