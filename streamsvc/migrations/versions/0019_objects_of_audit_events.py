"""audit events by the object that was changed"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

COLUMNS = ("object_type", "object_id")


def upgrade():
    for name in COLUMNS:
        op.add_column("audit_events", sa.Column(name, sa.String()))
    where = sa.text("object_id IS NOT NULL")
    op.create_index(
        "ix_audit_events_object_id", "audit_events", ["object_id", "seq"], sqlite_where=where, postgresql_where=where
    )


def downgrade():
    op.drop_index("ix_audit_events_object_id", "audit_events")
    for name in COLUMNS:
        op.drop_column("audit_events", name)
