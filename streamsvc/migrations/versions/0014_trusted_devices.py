"""devices on which a second factor was given, and is not asked for again for a while"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "device_trusts",
        sa.Column("device_id", sa.String(), sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("account_id", sa.String(), sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False, unique=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("given_at", UtcTime(), nullable=False),
    )
    op.create_index("ix_device_trusts_account_id", "device_trusts", ["account_id"])


def downgrade():
    op.drop_table("device_trusts")
