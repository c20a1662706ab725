"""up to where the history of a store's subscription is known"""

import sqlalchemy as sa
from alembic import op

revision = "0089"
down_revision = "0088"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("store_subscriptions", sa.Column("history_revision", sa.String()))


def downgrade():
    op.drop_column("store_subscriptions", "history_revision")
