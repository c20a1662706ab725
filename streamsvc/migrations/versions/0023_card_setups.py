"""payment methods know whether the customer's bank has authorized charges without the customer"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("payment_methods", sa.Column("set_up_at", UtcTime(), nullable=True))
    op.execute(
        "UPDATE payment_methods SET set_up_at = created_at WHERE provider = 'sandbox' OR EXISTS (SELECT 1 FROM payments"
        " WHERE payments.payment_method_id = payment_methods.id AND payments.status IN ('succeeded', 'disputed'))"
    )


def downgrade():
    with op.batch_alter_table("payment_methods") as methods:
        methods.drop_column("set_up_at")
