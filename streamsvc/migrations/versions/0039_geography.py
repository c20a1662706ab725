"""where sessions were started, and whether their owner can have travelled there"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

COLUMNS = {"country": sa.String(), "latitude": sa.Double(), "longitude": sa.Double(), "radius_km": sa.Double()}


def upgrade():
    for name, kind in COLUMNS.items():
        op.add_column("sessions", sa.Column(name, kind))
    op.add_column("sessions", sa.Column("impossible_travel", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade():
    with op.batch_alter_table("sessions") as sessions:
        for name in ("impossible_travel", *COLUMNS):
            sessions.drop_column(name)
