"""a token of the request that holds an idempotency key"""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.add_column(sa.Column("lease", sa.String()))


def downgrade():
    with op.batch_alter_table("idempotency_keys") as keys:
        keys.drop_column("lease")
