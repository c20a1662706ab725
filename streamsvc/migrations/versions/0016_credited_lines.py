"""what credits a line is found by that line, not by reading all lines"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
ONLY = sa.text("credits_line_id IS NOT NULL")


def upgrade():
    op.create_index(
        "ix_invoice_lines_credits_line_id",
        "invoice_lines",
        ["credits_line_id"],
        sqlite_where=ONLY,
        postgresql_where=ONLY,
    )


def downgrade():
    op.drop_index("ix_invoice_lines_credits_line_id", "invoice_lines")
