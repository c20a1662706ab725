"""beginnings of up to seven letters in SQLite's search index: longer ones are put together anew for each search"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

FTS = """
    CREATE VIRTUAL TABLE search_fts USING fts5(
        words, content='search_docs', content_rowid='rank', detail=none, prefix='{lengths}',
        tokenize="unicode61 remove_diacritics 0 categories 'L* N* M* Co' tokenchars '_'"
    )
"""


def upgrade():
    _index_beginnings("2 3 4 5 6 7 8")  # of tokens, whose first letter is their class


def downgrade():
    _index_beginnings("2 3 4 5")


def _index_beginnings(lengths):
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE search_fts")
        op.execute(FTS.format(lengths=lengths))
        op.execute(sa.text("INSERT INTO search_fts(search_fts) VALUES ('rebuild')"))
