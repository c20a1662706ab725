"""age ratings of single countries, beside a title's main rating"""

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0056"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("titles", sa.Column("rated_per_country", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "title_age_ratings",
        sa.Column("title_pk", sa.Integer(), sa.ForeignKey("titles.pk"), primary_key=True, autoincrement=False),
        sa.Column("country", sa.String(), primary_key=True),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("min_age", sa.Integer()),
        sa.Column("age_gate", sa.Integer(), nullable=False),
    )


def downgrade():
    op.drop_table("title_age_ratings")
    op.drop_column("titles", "rated_per_country")
