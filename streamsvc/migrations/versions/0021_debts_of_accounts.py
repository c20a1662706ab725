"""debts of accounts: invoices that owe nothing are paid and not overdue; referral rewards can be taken back"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("UPDATE invoices SET status = 'paid' WHERE status = 'open' AND balance_minor = 0")
    op.execute(
        "UPDATE invoices SET first_failed_on = NULL, next_attempt_on = NULL"
        " WHERE status IN ('paid', 'void', 'uncollectible') AND first_failed_on IS NOT NULL"
    )
    op.add_column("referrals", sa.Column("rewards", Json))
    op.add_column("referrals", sa.Column("revoked_at", UtcTime()))


def downgrade():
    with op.batch_alter_table("referrals") as referrals:
        referrals.drop_column("revoked_at")
        referrals.drop_column("rewards")
