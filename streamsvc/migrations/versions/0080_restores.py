"""restores of backups, after each of which billing waits for reconciliation"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0080"
down_revision = "0070"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "restores",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("taken_at", UtcTime(), nullable=False),
        sa.Column("restored_at", UtcTime(), nullable=False),
        sa.Column("reconciled_at", UtcTime()),
    )


def downgrade():
    op.drop_table("restores")
