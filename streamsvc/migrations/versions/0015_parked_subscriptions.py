"""parked subscriptions are found without looking at the others"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

PARKED = sa.text("parked_at IS NOT NULL")


def upgrade():
    op.create_index("ix_subscriptions_parked", "subscriptions", ["id"], sqlite_where=PARKED, postgresql_where=PARKED)


def downgrade():
    op.drop_index("ix_subscriptions_parked", "subscriptions")
