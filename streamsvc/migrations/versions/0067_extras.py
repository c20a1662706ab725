"""extras of titles as rows with ids, and streams that take no slot"""

import json
from collections import Counter
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import UtcTime, new_id

revision = "0067"
down_revision = "0066"
branch_labels = None
depends_on = None

BATCH_SIZE = 1_000
TITLES_WITH_EXTRAS = sa.text(
    "SELECT r.title_pk, r.body AS record, d.body AS detail FROM title_records r"
    " JOIN title_details d ON d.title_pk = r.title_pk"
    " WHERE r.title_pk > :after AND r.body LIKE '%\"extras\":[%' ORDER BY r.title_pk LIMIT :limit"
)
SET_DETAIL = sa.text("UPDATE title_details SET body = :body WHERE title_pk = :title_pk")


def upgrade():
    op.add_column("streams", sa.Column("takes_slot", sa.Boolean(), nullable=False, server_default=sa.true()))
    extras = op.create_table(
        "extras",
        sa.Column("pk", sa.Integer(), primary_key=True),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("title_pk", sa.Integer(), sa.ForeignKey("titles.pk"), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("runtime_s", sa.Integer()),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("rights", sa.Text()),
        sa.Column("media", sa.Text()),
        sa.Column("variants", sa.Text()),
        sa.Column("drm_keys", sa.Text()),
        sa.Column("removed_at", UtcTime()),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("title_pk", "key"),
    )
    fill(extras)


def fill(extras):
    """Insert the extras that records have, and their manifests; and take them out of the titles' details."""
    connection, after = op.get_bind(), -1
    media_files = sa.table("media_files", *map(sa.column, ("host", "path", "title_pk", "item", "folder")))
    while titles := connection.execute(TITLES_WITH_EXTRAS, {"after": after, "limit": BATCH_SIZE}).all():
        after = titles[-1].title_pk
        rows = [row for title in titles for row in extra_rows(title)]
        details = [
            {"title_pk": title.title_pk, "body": json.dumps(without_extras(title.detail), ensure_ascii=False)}
            for title in titles
        ]
        if rows:
            connection.execute(extras.insert(), rows)
            connection.execute(SET_DETAIL, details)
        if files := [file for row in rows for file in files_of(row)]:
            connection.execute(sa.insert(media_files), files)


def extra_rows(title):
    """Yield the rows of a title's extras; of several with the same kind and title, the later ones are numbered."""
    counts = Counter()
    for position, extra in enumerate(json.loads(title.record).get("extras") or ()):
        kind, name, media = extra["kind"], extra["title"], extra.get("media")
        counts[kind, name] += 1
        number = "" if counts[kind, name] == 1 else f"#{counts[kind, name]}"
        yield {
            "id": new_id("xtr"),
            "title_pk": title.title_pk,
            "key": f"{kind}{number}:{name}",
            "position": position,
            "kind": kind,
            "title": name,
            "runtime_s": extra.get("runtime_s"),
            "detail": '{"artwork":[],"tracks":[]}',
            "media": json.dumps(media) if media else None,
        }


def without_extras(detail):
    return {name: value for name, value in json.loads(detail).items() if name != "extras"}


def files_of(row):
    """Return the manifests of an extra; malformed addresses are left out."""
    places = {place: None for url in json.loads(row["media"] or "{}").values() if (place := host_and_path(url))}
    return [
        {"host": host, "path": path, "title_pk": row["title_pk"], "item": row["id"], "folder": folder_of(path)}
        for host, path in places
    ]


def folder_of(path):
    return path.rpartition("/")[0] + "/"


def host_and_path(url):
    """Return (host, path) of a media address; None if it is malformed."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "", unquote(parts.path)) if parts.path else None
    except ValueError:
        return None


def restore_details():
    """Put the extras back into the titles' details."""
    connection, extras = op.get_bind(), {}
    rows = sa.text("SELECT title_pk, kind, title, runtime_s FROM extras WHERE removed_at IS NULL ORDER BY position")
    for row in connection.execute(rows):
        extra = {"kind": row.kind, "title": row.title, "runtime_s": row.runtime_s}
        extras.setdefault(row.title_pk, []).append(extra)
    detail = sa.text("SELECT body FROM title_details WHERE title_pk = :title_pk")
    for title_pk, of_title in extras.items():
        body = json.loads(connection.scalar(detail, {"title_pk": title_pk})) | {"extras": of_title}
        connection.execute(SET_DETAIL, {"title_pk": title_pk, "body": json.dumps(body, ensure_ascii=False)})


def downgrade():
    restore_details()
    op.execute("DELETE FROM media_files WHERE item LIKE 'xtr!_%' ESCAPE '!'")
    op.drop_table("extras")
    op.drop_column("streams", "takes_slot")
