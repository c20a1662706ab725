"""content keys of titles and episodes"""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None


def upgrade():
    for table in ("title_details", "episodes"):
        op.add_column(table, sa.Column("drm_keys", sa.Text()))


def downgrade():
    for table in ("episodes", "title_details"):
        op.drop_column(table, "drm_keys")
