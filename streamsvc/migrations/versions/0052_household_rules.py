"""what a household's owner restricts, and the places of removed devices"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("profiles", sa.Column("restrictions", Json))
    op.create_table(
        "freed_device_places",
        sa.Column("device_id", sa.String(), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("freed_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_freed_device_places_account_id", "freed_device_places", ["account_id"])
    op.create_index("ix_freed_device_places_freed_at", "freed_device_places", ["freed_at"])


def downgrade():
    op.drop_table("freed_device_places")
    op.drop_column("profiles", "restrictions")
