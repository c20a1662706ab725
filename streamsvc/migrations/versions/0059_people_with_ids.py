"""people with ids of their own, names of studios, texts and pictures of seasons"""

import sqlalchemy as sa
from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None

Sortable = sa.String().with_variant(sa.String(collation="C"), "postgresql")
UNIQUE_NAME = "uq_people_name"
MERGED_INTO = "fk_people_merged_into_people"


def upgrade():
    with op.batch_alter_table("people") as people:
        people.add_column(sa.Column("external_id", sa.String()))
        people.add_column(sa.Column("name_key", Sortable, server_default="", nullable=False))
        people.add_column(sa.Column("body", sa.Text()))
        people.add_column(sa.Column("picture", sa.Text()))
        people.add_column(sa.Column("merged_into", sa.Integer()))
        people.create_foreign_key(MERGED_INTO, "people", ["merged_into"], ["pk"])
        people.drop_constraint(UNIQUE_NAME, type_="unique")
    op.add_column("facets", sa.Column("name", sa.String()))
    op.add_column("seasons", sa.Column("synopsis", sa.Text()))
    op.add_column("seasons", sa.Column("artwork", sa.Text()))


def downgrade():
    op.drop_column("seasons", "artwork")
    op.drop_column("seasons", "synopsis")
    op.drop_column("facets", "name")
    op.execute(
        "UPDATE people SET name = name || ' (' || id || ')' WHERE EXISTS"
        " (SELECT 1 FROM people AS earlier WHERE earlier.name = people.name AND earlier.pk < people.pk)"
    )
    with op.batch_alter_table("people") as people:
        people.drop_constraint(MERGED_INTO, type_="foreignkey")
        for name in ("merged_into", "picture", "body", "name_key", "external_id"):
            people.drop_column(name)
        people.create_unique_constraint(UNIQUE_NAME, ["name"])
