"""indexes of the streams and sessions that ended lately"""

import sqlalchemy as sa

from streamsvc.storage.concurrent_indexes import create_index_concurrently, drop_index_concurrently

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

HAS_ENDED = sa.text("ended_at IS NOT NULL")
WHERE = {"sqlite_where": HAS_ENDED, "postgresql_where": HAS_ENDED}


def upgrade():
    create_index_concurrently("ix_streams_ended_at", "streams", ["ended_at"], **WHERE)
    create_index_concurrently("ix_sessions_ended_at", "sessions", ["ended_at"], **WHERE)


def downgrade():
    drop_index_concurrently("ix_sessions_ended_at", "sessions")
    drop_index_concurrently("ix_streams_ended_at", "streams")
