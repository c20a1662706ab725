"""index of the streams by when they started"""

from streamsvc.storage.concurrent_indexes import create_index_concurrently, drop_index_concurrently

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None


def upgrade():
    create_index_concurrently("ix_streams_started_at", "streams", ["started_at"])


def downgrade():
    drop_index_concurrently("ix_streams_started_at", "streams")
