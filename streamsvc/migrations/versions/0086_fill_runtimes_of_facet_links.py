"""fill the runtime of titles in their links to facets; by itself, so that lists are read meanwhile"""

from alembic import op

revision = "0086"
down_revision = "0085"
branch_labels = None
depends_on = None


def upgrade():
    op.execute(
        "UPDATE title_facets SET runtime_s ="
        " (SELECT titles.runtime_s FROM titles WHERE titles.pk = title_facets.title_pk)"
    )


def downgrade():
    pass
