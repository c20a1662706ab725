"""indexes of failed jobs and deliveries, of what housekeeping deletes, and of the foreign keys that this checks"""

import sqlalchemy as sa

from streamsvc.storage.concurrent_indexes import create_index_concurrently, drop_index_concurrently

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def partial(condition):
    """The options of an index of the rows that meet a condition."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade():
    create_index_concurrently(
        "ix_jobs_failed", "jobs", ["id", "kind", "lane", "failed_at"], **partial("failed_at IS NOT NULL")
    )
    create_index_concurrently("ix_jobs_done_at", "jobs", ["done_at"], **partial("done_at IS NOT NULL"))
    create_index_concurrently(
        "ix_webhook_deliveries_failed",
        "webhook_deliveries",
        ["id", "endpoint_id", "event_id", "status"],
        **partial("status = 'failed'"),
    )
    create_index_concurrently("ix_device_trusts_given_at", "device_trusts", ["given_at"])
    create_index_concurrently(
        "ix_pending_flows_session_id", "pending_flows", ["session_id"], **partial("session_id IS NOT NULL")
    )
    create_index_concurrently("ix_sessions_device_id", "sessions", ["device_id"])


def downgrade():
    drop_index_concurrently("ix_sessions_device_id", "sessions")
    drop_index_concurrently("ix_pending_flows_session_id", "pending_flows")
    drop_index_concurrently("ix_device_trusts_given_at", "device_trusts")
    drop_index_concurrently("ix_webhook_deliveries_failed", "webhook_deliveries")
    drop_index_concurrently("ix_jobs_done_at", "jobs")
    drop_index_concurrently("ix_jobs_failed", "jobs")
