"""the epoch that ends every session at once, and events by kind"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

TABLES = ("sessions", "device_trusts")


def upgrade():
    op.create_table(
        "service_epoch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_service_epoch"),
    )
    for table in TABLES:
        op.add_column(table, sa.Column("service_epoch", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_events_kind", "events", ["kind", "id"])


def downgrade():
    op.drop_index("ix_events_kind", "events")
    for table in TABLES:
        op.drop_column(table, "service_epoch")
    op.drop_table("service_epoch")
