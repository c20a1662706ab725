"""plays, and what dates the heartbeats of a stream"""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0046"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
STREAM_COLUMNS = ("claimed_at", "played_at", "completed_at")


def upgrade():
    for name in STREAM_COLUMNS:
        op.add_column("streams", sa.Column(name, TIME))
    op.execute("UPDATE streams SET played_at = started_at WHERE watched_s > 0")
    op.add_column("progress", sa.Column("clock_session_id", sa.String()))
    op.add_column("progress", sa.Column("first_watched_at", TIME))
    op.execute("UPDATE progress SET first_watched_at = watched_at WHERE watched_at IS NOT NULL")
    op.create_table(
        "plays",
        sa.Column("profile_id", sa.String(), sa.ForeignKey("profiles.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("item_id", sa.String(), primary_key=True),
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("title_id", sa.String(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("completed_at", TIME),
    )
    op.create_index("ix_plays_started_at", "plays", ["profile_id", "started_at", "id"])
    op.execute(
        "INSERT INTO plays (profile_id, item_id, id, title_id, started_at)"
        " SELECT streams.profile_id, streams.item_id, streams.id, streams.title_id, streams.started_at"
        " FROM streams JOIN profiles ON profiles.id = streams.profile_id WHERE streams.watched_s > 0"
    )


def downgrade():
    op.drop_table("plays")
    for name in ("clock_session_id", "first_watched_at"):
        op.drop_column("progress", name)
    for name in STREAM_COLUMNS:
        op.drop_column("streams", name)
