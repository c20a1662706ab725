"""of which ends of add-ons' trials a subscriber was reminded"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("subscriptions", sa.Column("reminded_addons", Json, nullable=False, server_default="{}"))


def downgrade():
    with op.batch_alter_table("subscriptions") as subscriptions:
        subscriptions.drop_column("reminded_addons")
