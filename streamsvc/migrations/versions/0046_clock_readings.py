"""the last trusted time of each machine's clock"""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "clock_readings",
        sa.Column("machine", sa.String(), primary_key=True),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uptime_us", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
    )


def downgrade():
    op.drop_table("clock_readings")
