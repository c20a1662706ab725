"""how words sound; how many titles a facet has; by which rules the search index was made"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

Sortable = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade():
    op.add_column("search_words", sa.Column("sound", Sortable, nullable=False, server_default=""))
    op.create_index("ix_search_words_sound", "search_words", ["sound"])
    op.add_column("facets", sa.Column("titles", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("catalog_state", sa.Column("search_version", sa.Integer(), nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE search_docs ALTER COLUMN words SET STATISTICS 500")


def downgrade():
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE search_docs ALTER COLUMN words SET STATISTICS -1")
    op.drop_column("catalog_state", "search_version")
    op.drop_column("facets", "titles")
    op.drop_index("ix_search_words_sound", "search_words")
    op.drop_column("search_words", "sound")
