"""titles with their records, cards, windows and plans; facets; people; seasons; collections; imports; search"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

from streamsvc.storage.database import Json, UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Sortable = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TABLES = (
    "search_words", "search_docs", "imported_titles", "import_rejections", "import_chunks", "imports", "home_rows",
    "collection_items", "collections", "episodes", "seasons", "title_credits", "people", "title_facets", "facets",
    "title_plans", "title_windows", "title_details", "title_cards", "title_records", "catalog_state", "titles",
)  # fmt: skip
FTS = """
    CREATE VIRTUAL TABLE search_fts USING fts5(
        words, content='search_docs', content_rowid='rank', detail=none, prefix='2 3 4 5',
        tokenize="unicode61 remove_diacritics 0 categories 'L* N* M* Co' tokenchars '_'"
    )
"""
FTS_TRIGGERS = (
    """CREATE TRIGGER search_docs_added AFTER INSERT ON search_docs BEGIN
        INSERT INTO search_fts(rowid, words) VALUES (new.rank, new.words); END""",
    """CREATE TRIGGER search_docs_deleted AFTER DELETE ON search_docs BEGIN
        INSERT INTO search_fts(search_fts, rowid, words) VALUES ('delete', old.rank, old.words); END""",
    """CREATE TRIGGER search_docs_changed AFTER UPDATE ON search_docs BEGIN
        INSERT INTO search_fts(search_fts, rowid, words) VALUES ('delete', old.rank, old.words);
        INSERT INTO search_fts(rowid, words) VALUES (new.rank, new.words); END""",
)


def upgrade():
    create_titles()
    create_facets_and_people()
    create_series_and_rows()
    create_imports()
    create_search()


def of_title(**more):
    return sa.Column("title_pk", sa.Integer(), sa.ForeignKey("titles.pk"), **more)


def create_titles():
    op.create_table(
        "titles",
        sa.Column("pk", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(), nullable=False, unique=True),
        sa.Column("external_id", sa.String(), nullable=False, unique=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("sort_title", Sortable, nullable=False),
        sa.Column("year", sa.Integer()),
        sa.Column("year_key", sa.Integer(), nullable=False),
        sa.Column("runtime_s", sa.Integer()),
        sa.Column("min_age", sa.Integer()),
        sa.Column("age_gate", sa.Integer(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False, unique=True),
        sa.Column("played", sa.Integer(), nullable=False),
        sa.Column("has_artwork", sa.Boolean(), nullable=False),
        sa.Column("windowed", sa.Boolean(), nullable=False),
        sa.Column("plan_limited", sa.Boolean(), nullable=False),
        sa.Column("added_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.Column("removed_at", UtcTime()),
    )
    op.create_index("ix_titles_sort_title", "titles", ["sort_title", "pk"])
    op.create_index("ix_titles_year_key", "titles", ["year_key", "pk"])
    op.create_table(
        "title_records",
        of_title(primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_table(
        "title_cards",
        of_title(primary_key=True, autoincrement=False),
        sa.Column("locale", sa.String(), primary_key=True),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_table(
        "title_details",
        of_title(primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("media", sa.Text()),
    )
    op.create_table(
        "title_windows",
        of_title(primary_key=True, autoincrement=False),
        sa.Column("country", sa.String(), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("starts_at", UtcTime()),
        sa.Column("ends_at", UtcTime()),
    )
    op.create_index("ix_title_windows_starts_at", "title_windows", ["starts_at"])
    op.create_index("ix_title_windows_ends_at", "title_windows", ["ends_at"])
    op.create_table(
        "title_plans",
        of_title(primary_key=True, autoincrement=False),
        sa.Column("plan_code", sa.String(), primary_key=True),
    )
    op.create_table(
        "catalog_state",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
    )


def create_facets_and_people():
    op.create_table(
        "facets",
        sa.Column("pk", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.UniqueConstraint("kind", "code"),
    )
    op.create_table(
        "title_facets",
        sa.Column("facet_pk", sa.Integer(), sa.ForeignKey("facets.pk"), primary_key=True, autoincrement=False),
        of_title(primary_key=True, autoincrement=False),
        sa.Column("sort_title", Sortable, nullable=False),
        sa.Column("year_key", sa.Integer(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_title_facets_sort_title", "title_facets", ["facet_pk", "sort_title", "title_pk"])
    op.create_index("ix_title_facets_year_key", "title_facets", ["facet_pk", "year_key", "title_pk"])
    op.create_index("ix_title_facets_rank", "title_facets", ["facet_pk", "rank"])
    op.create_index("ix_title_facets_title_pk", "title_facets", ["title_pk"])
    op.create_table(
        "people",
        sa.Column("pk", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(), nullable=False, unique=True),
        sa.Column("name", sa.String(), nullable=False, unique=True),
    )
    op.create_table(
        "title_credits",
        of_title(primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("person_pk", sa.Integer(), sa.ForeignKey("people.pk"), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("character", sa.String()),
    )
    op.create_index("ix_title_credits_person_pk", "title_credits", ["person_pk", "title_pk"])


def create_series_and_rows():
    op.create_table(
        "seasons",
        sa.Column("pk", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(), nullable=False, unique=True),
        of_title(nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.String()),
        sa.Column("removed_at", UtcTime()),
        sa.UniqueConstraint("title_pk", "number"),
    )
    op.create_table(
        "episodes",
        sa.Column("pk", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(), nullable=False, unique=True),
        of_title(nullable=False),
        sa.Column("season", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.String()),
        sa.Column("synopsis", sa.Text()),
        sa.Column("runtime_s", sa.Integer()),
        sa.Column("released_on", sa.Date()),
        sa.Column("markers", sa.Text()),
        sa.Column("artwork", sa.Text()),
        sa.Column("media", sa.Text()),
        sa.Column("removed_at", UtcTime()),
        sa.UniqueConstraint("title_pk", "season", "number"),
    )
    op.create_table(
        "collections",
        sa.Column("pk", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(), nullable=False, unique=True),
        sa.Column("code", sa.String(), nullable=False, unique=True),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("localizations", Json, nullable=False),
    )
    op.create_table(
        "collection_items",
        sa.Column(
            "collection_pk", sa.Integer(), sa.ForeignKey("collections.pk"), primary_key=True, autoincrement=False
        ),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        of_title(nullable=False),
    )
    op.create_index("ix_collection_items_title_pk", "collection_items", ["title_pk"])
    op.create_table(
        "home_rows",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("code", sa.String()),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("localizations", Json, nullable=False),
    )


def create_imports():
    op.create_table(
        "imports",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("remove_missing", sa.Boolean(), nullable=False),
        sa.Column("most_removals_percent", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in ("lines_done", "added", "changed", "unchanged", "rejected", "removed")
        ),
        sa.Column("error", sa.String()),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("finished_at", UtcTime()),
    )

    def of_import():
        return sa.Column("import_id", sa.String(), sa.ForeignKey("imports.id"), primary_key=True)

    op.create_table(
        "import_chunks",
        of_import(),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "import_rejections",
        of_import(),
        sa.Column("line", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("external_id", sa.String()),
        sa.Column("field", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
    )
    op.create_table("imported_titles", of_import(), of_title(primary_key=True, autoincrement=False))


def create_search():
    op.create_table(
        "search_docs",
        sa.Column("rank", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("words", sa.Text().with_variant(TSVECTOR(), "postgresql"), nullable=False),
    )
    op.create_table("search_words", sa.Column("word", Sortable, primary_key=True))
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_search_docs_fts",
            "search_docs",
            ["words"],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
    else:
        for statement in (FTS, *FTS_TRIGGERS):
            op.execute(statement)


def downgrade():
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE search_fts")
    for name in TABLES:
        op.drop_table(name)
