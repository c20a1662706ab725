"""search index of programmes; each import of a guide fills it with the programmes that it lacks"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0070"
down_revision = "0067"
branch_labels = None
depends_on = None

FTS = """
    CREATE VIRTUAL TABLE programme_entries_fts USING fts5(
        words, content='programme_entries', content_rowid='rank', detail=none, prefix='2 3 4',
        tokenize="unicode61 remove_diacritics 0 categories 'L* N* M* Co' tokenchars '_'"
    )
"""
FTS_TRIGGERS = (
    """CREATE TRIGGER programme_entries_added AFTER INSERT ON programme_entries BEGIN
        INSERT INTO programme_entries_fts(rowid, words) VALUES (new.rank, new.words); END""",
    """CREATE TRIGGER programme_entries_deleted AFTER DELETE ON programme_entries BEGIN
        INSERT INTO programme_entries_fts(programme_entries_fts, rowid, words)
        VALUES ('delete', old.rank, old.words); END""",
)


def upgrade():
    op.create_table(
        "programme_entries",
        sa.Column("rank", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("channel_pk", sa.Integer(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("repeat_key", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.Text().with_variant(TSVECTOR(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_pk", "starts_at"],
            ["programmes.channel_pk", "programmes.starts_at"],
            name="fk_programme_entries_channel_pk_starts_at",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("rank", name="pk_programme_entries"),
        sa.UniqueConstraint("channel_pk", "starts_at", name="uq_programme_entries_channel_pk_starts_at"),
    )
    op.create_index("ix_programme_entries_repeat_key", "programme_entries", ["repeat_key", "rank"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_programme_entries_fts",
            "programme_entries",
            ["words"],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
    else:
        for statement in (FTS, *FTS_TRIGGERS):
            op.execute(statement)


def downgrade():
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE programme_entries_fts")
    op.drop_table("programme_entries")
