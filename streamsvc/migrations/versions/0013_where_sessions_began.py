"""the city that a session was begun from, where the proxies tell it"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("sessions", sa.Column("city", sa.String()))


def downgrade():
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("city")
