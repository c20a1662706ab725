"""invoices that are drafts for a while; payments of which a part is disputed"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

DRAFTS = sa.text("status = 'draft'")


def upgrade():
    op.add_column("invoices", sa.Column("finalizes_at", UtcTime()))
    op.create_index("ix_invoices_drafts", "invoices", ["id"], sqlite_where=DRAFTS, postgresql_where=DRAFTS)
    op.add_column("payments", sa.Column("disputed_minor", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE payments SET disputed_minor = amount_minor - refunded_minor WHERE status = 'disputed'")


def downgrade():
    with op.batch_alter_table("payments") as payments:
        payments.drop_column("disputed_minor")
    op.drop_index("ix_invoices_drafts", "invoices")
    with op.batch_alter_table("invoices") as invoices:
        invoices.drop_column("finalizes_at")
