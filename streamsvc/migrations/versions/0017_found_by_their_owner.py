"""what belongs to an account or a profile is found by it, however many others there are"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

INDEXES = {
    ("sessions", "profile_id"): "profile_id IS NOT NULL",
    ("streams", "account_id", "ended_at", "id"): None,
    ("credit_notes", "account_id", "id"): None,
    ("refunds", "credit_note_id"): None,
    ("webhook_deliveries", "event_id"): None,
    ("gift_codes", "redeemed_by"): "redeemed_by IS NOT NULL",
}


def upgrade():
    for (table, *columns), only in INDEXES.items():
        where = only and sa.text(only)
        op.create_index(f"ix_{table}_{columns[0]}", table, columns, sqlite_where=where, postgresql_where=where)


def downgrade():
    for table, column, *_ in INDEXES:
        op.drop_index(f"ix_{table}_{column}", table)
