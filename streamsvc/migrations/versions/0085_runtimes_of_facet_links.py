"""the runtime of titles in their links to facets"""

import sqlalchemy as sa
from alembic import op

revision = "0085"
down_revision = "0080"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("title_facets", sa.Column("runtime_s", sa.Integer()))


def downgrade():
    op.drop_column("title_facets", "runtime_s")
