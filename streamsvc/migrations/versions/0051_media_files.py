"""where each item's manifest is, its variants, and what a stream may fetch"""

import json
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0049"
branch_labels = None
depends_on = None

BATCH_SIZE = 1_000
Sortable = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade():
    media_files = op.create_table(
        "media_files",
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("path", Sortable, nullable=False),
        sa.Column("title_pk", sa.Integer(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("folder", Sortable, nullable=False),
        sa.ForeignKeyConstraint(["title_pk"], ["titles.pk"], name="fk_media_files_title_pk_titles"),
        sa.PrimaryKeyConstraint("host", "path", "title_pk", "item", name="pk_media_files"),
    )
    op.create_index("ix_media_files_title_pk", "media_files", ["title_pk"])
    op.add_column("title_details", sa.Column("variants", sa.Text()))
    op.add_column("episodes", sa.Column("variants", sa.Text()))
    op.add_column("streams", sa.Column("media_scope", sa.Text()))
    op.add_column("imports", sa.Column("shared_media_folders", sa.Integer(), server_default="0", nullable=False))
    films = "SELECT title_pk AS key, title_pk, '' AS item, media FROM title_details WHERE media IS NOT NULL"
    episodes = (
        "SELECT pk AS key, title_pk, CAST(season AS VARCHAR) || '/' || CAST(number AS VARCHAR) AS item, media"
        " FROM episodes WHERE media IS NOT NULL AND removed_at IS NULL"
    )
    for select in (films, episodes):
        fill(media_files, select)


def fill(media_files, select):
    """Insert the manifests of the rows of `select` (key, title_pk, item, media)."""
    connection, after = op.get_bind(), 0
    page = sa.text(f"SELECT * FROM ({select}) AS items WHERE key > :after ORDER BY key LIMIT {BATCH_SIZE}")  # noqa: S608
    while rows := connection.execute(page, {"after": after}).all():
        after = rows[-1].key
        found = {
            (*place, row.title_pk, row.item): None
            for row in rows
            for url in json.loads(row.media).values()
            if (place := host_and_path(url))
        }
        values = [
            {"host": host, "path": path, "title_pk": pk, "item": item, "folder": path.rpartition("/")[0] + "/"}
            for host, path, pk, item in found
        ]
        if values:
            connection.execute(media_files.insert(), values)


def host_and_path(url):
    """Return (host, path) of a media address; None if it is malformed."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "", unquote(parts.path)) if parts.path else None
    except ValueError:
        return None


def downgrade():
    op.drop_column("imports", "shared_media_folders")
    op.drop_column("streams", "media_scope")
    op.drop_column("episodes", "variants")
    op.drop_column("title_details", "variants")
    op.drop_table("media_files")
