"""search index of episodes, collections and people; the worker fills it when it rebuilds the index"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None

FTS = """
    CREATE VIRTUAL TABLE search_entries_fts USING fts5(
        words, content='search_entries', content_rowid='rank', detail=none, prefix='2 3 4',
        tokenize="unicode61 remove_diacritics 0 categories 'L* N* M* Co' tokenchars '_'"
    )
"""
FTS_TRIGGERS = (
    """CREATE TRIGGER search_entries_added AFTER INSERT ON search_entries BEGIN
        INSERT INTO search_entries_fts(rowid, words) VALUES (new.rank, new.words); END""",
    """CREATE TRIGGER search_entries_deleted AFTER DELETE ON search_entries BEGIN
        INSERT INTO search_entries_fts(search_entries_fts, rowid, words) VALUES ('delete', old.rank, old.words); END""",
)


def upgrade():
    op.create_table(
        "search_entries",
        sa.Column("rank", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ref", sa.Integer(), nullable=False),
        sa.Column("words", sa.Text().with_variant(TSVECTOR(), "postgresql"), nullable=False),
        sa.UniqueConstraint("kind", "ref"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_search_entries_fts",
            "search_entries",
            ["words"],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
    else:
        for statement in (FTS, *FTS_TRIGGERS):
            op.execute(statement)


def downgrade():
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE search_entries_fts")
    op.drop_table("search_entries")
