"""how a file of titles is read, what was guessed about it, and the file of a rejected entry"""

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("imports", sa.Column("format_guessed", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("imports", sa.Column("options", Json, server_default="{}", nullable=False))
    op.add_column("imports", sa.Column("warnings", Json, server_default="[]", nullable=False))
    op.add_column("import_rejections", sa.Column("file", sa.String()))


def downgrade():
    op.drop_column("import_rejections", "file")
    op.drop_column("imports", "warnings")
    op.drop_column("imports", "options")
    op.drop_column("imports", "format_guessed")
