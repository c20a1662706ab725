"""closed accounts wait before they are erased; the secrets that sign webhooks are sealed"""

import sqlalchemy as sa
from alembic import op

from streamsvc.security import encryption
from streamsvc.storage.database import UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SECRETS = ("secret", "old_secret")


def upgrade():
    op.add_column("accounts", sa.Column("erase_at", UtcTime()))
    _rewrite(encryption.encrypt, "", "_sealed")


def downgrade():
    _rewrite(encryption.decrypt, "_sealed", "")
    op.drop_column("accounts", "erase_at")


def _rewrite(change, before, after):
    """Change what stands in the columns of secrets, and their names."""
    for name in SECRETS:
        op.execute(f"ALTER TABLE webhook_endpoints RENAME COLUMN {name}{before} TO {name}{after}")
    columns = [sa.column("id"), *(sa.column(f"{name}{after}") for name in SECRETS)]
    table, connection = sa.table("webhook_endpoints", *columns), op.get_bind()
    for row in connection.execute(sa.select(table)).all():
        values = {column.name: kept and change(kept) for column, kept in zip(columns[1:], row[1:], strict=True)}
        connection.execute(sa.update(table).where(table.c.id == row.id).values(**values))
