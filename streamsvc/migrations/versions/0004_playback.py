"""streams and the devices they play on; progress, watchlist and ratings of profiles"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OPEN = sa.text("ended_at IS NULL")


def upgrade():
    op.create_table(
        "streams",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("profile_id", sa.String(), nullable=False),
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("device_id", sa.String(), nullable=False),
        sa.Column("title_id", sa.String(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("country", sa.String()),
        sa.Column("max_height", sa.Integer()),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("position_s", sa.Integer(), nullable=False),
        sa.Column("watched_s", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime()),
        sa.Column("end_reason", sa.String()),
    )
    op.create_index(
        "uq_streams_open_item_on_device",
        "streams",
        ["account_id", "device_id", "item_id"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index("ix_streams_open_id", "streams", ["id"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_table(
        "stream_devices",
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), primary_key=True),
        sa.Column("device_id", sa.String(), primary_key=True),
        sa.Column("first_played_at", UtcTime(), nullable=False),
        sa.Column("last_played_at", UtcTime(), nullable=False),
    )
    create_viewer_tables()


def create_viewer_tables():
    op.create_table(
        "progress",
        sa.Column("profile_id", sa.String(), sa.ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("item_id", sa.String(), primary_key=True),
        sa.Column("title_id", sa.String(), nullable=False),
        sa.Column("season", sa.Integer()),
        sa.Column("episode", sa.Integer()),
        sa.Column("position_s", sa.Integer(), nullable=False),
        sa.Column("duration_s", sa.Integer()),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("claimed_at", UtcTime(), nullable=False),
        sa.Column("watched_at", UtcTime()),
        sa.Column("restarted_at", UtcTime()),
        sa.Column("hidden_at", UtcTime()),
    )
    op.create_index("ix_progress_at", "progress", ["profile_id", "at", "item_id"])
    op.create_index("ix_progress_title_id", "progress", ["profile_id", "title_id"])
    op.create_table(
        "watchlist",
        sa.Column("profile_id", sa.String(), sa.ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("title_id", sa.String(), primary_key=True),
        sa.Column("added_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_watchlist_added_at", "watchlist", ["profile_id", "added_at", "title_id"])
    op.create_table(
        "ratings",
        sa.Column("profile_id", sa.String(), sa.ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("title_id", sa.String(), primary_key=True),
        sa.Column("rating", sa.String(), nullable=False),
        sa.Column("rated_at", UtcTime(), nullable=False),
    )


def downgrade():
    for table in ("ratings", "watchlist", "progress", "stream_devices", "streams"):
        op.drop_table(table)
