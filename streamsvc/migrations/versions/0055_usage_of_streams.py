"""the plan of a stream, and when its viewer was last active"""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None

COLUMNS = {
    "plan": sa.String(),
    "active_at": sa.DateTime(timezone=True),
    "asked_at": sa.DateTime(timezone=True),
}


def upgrade():
    for name, kind in COLUMNS.items():
        op.add_column("streams", sa.Column(name, kind))


def downgrade():
    for name in COLUMNS:
        op.drop_column("streams", name)
