"""deleted profiles that can be restored, proofs by PIN, and a key of the rate-limit counters"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0032"
down_revision = "0030"
branch_labels = None
depends_on = None

PROFILES = sa.table("profiles", sa.column("id"), sa.column("deleted_at"))
IS_DELETED = sa.text("deleted_at IS NOT NULL")


def upgrade():
    op.add_column("profiles", sa.Column("deleted_at", UtcTime()))
    op.create_index(
        "ix_profiles_deleted_at", "profiles", ["deleted_at"], sqlite_where=IS_DELETED, postgresql_where=IS_DELETED
    )
    op.add_column("sessions", sa.Column("pin_verified_at", UtcTime()))
    op.create_table(
        "rate_limit_keys",
        sa.Column("secret_id", sa.String(), primary_key=True),
        sa.Column("key_encrypted", sa.String(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
    )


def downgrade():
    """Purge the deleted profiles: without the column they would be back."""
    op.drop_table("rate_limit_keys")
    op.drop_index("ix_profiles_deleted_at", "profiles")
    deleted = sa.select(PROFILES.c.id).where(PROFILES.c.deleted_at.is_not(None))
    for name in ("progress", "watchlist", "ratings"):
        table = sa.table(name, sa.column("profile_id"))
        op.execute(sa.delete(table).where(table.c.profile_id.in_(deleted)))
    sessions = sa.table("sessions", sa.column("profile_id"))
    op.execute(sa.update(sessions).where(sessions.c.profile_id.in_(deleted)).values(profile_id=None))
    op.execute(sa.delete(PROFILES).where(PROFILES.c.deleted_at.is_not(None)))
    with op.batch_alter_table("sessions") as batch:
        batch.drop_column("pin_verified_at")
    with op.batch_alter_table("profiles") as batch:
        batch.drop_column("deleted_at")
