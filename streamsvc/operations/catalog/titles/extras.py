"""Writes the extras of records.

Rows are identified by their keys, so they keep their ids; those that disappear are marked as removed.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Extra
from streamsvc.operations.catalog.titles import bulk
from streamsvc.operations.catalog.titles.cards import artwork_view, rating_view, tracks_view
from streamsvc.operations.catalog.titles.json_fragments import encode_json
from streamsvc.operations.catalog.titles.part_rights import encode_rights, insert_part_windows, own_rights
from streamsvc.rules.catalog.parts import extra_keys
from streamsvc.rules.catalog.record import CatalogRecord
from streamsvc.rules.catalog.record import Extra as ExtraRecord
from streamsvc.rules.maturity import parse_age_rating
from streamsvc.storage.database import db, insert, new_id

UPDATED_COLUMNS = (
    "position", "kind", "title", "runtime_s", "detail", "rights", "media", "variants", "drm_keys", "removed_at",
)  # fmt: skip


def write_extras(titles: list[tuple[int, CatalogRecord]], now: datetime) -> dict[tuple[int, str], str]:
    """Replace the extras of titles (pk, record) by those of their records; return their ids by (title's pk, key)."""
    for chunk in bulk.in_chunks([pk for pk, _ in titles]):
        removal = sa.update(Extra).where(Extra.title_pk.in_(chunk), Extra.removed_at.is_(None))
        db.session.execute(removal.values(removed_at=now))
    rows = [
        _extra_row(pk, key, position, extra)
        for pk, record in titles
        for position, (key, extra) in enumerate(keyed_extras(record))
    ]
    for chunk_of_rows in bulk.in_chunks(rows):
        statement = insert(Extra).values(chunk_of_rows)
        values = {name: statement.excluded[name] for name in UPDATED_COLUMNS}
        db.session.execute(statement.on_conflict_do_update(index_elements=["title_pk", "key"], set_=values))
    select = sa.select(Extra.title_pk, Extra.key, Extra.id).where(Extra.removed_at.is_(None))
    ids = {
        (row.title_pk, row.key): row.id
        for row in bulk.select_rows_in(select, Extra.title_pk, [pk for pk, record in titles if record.extras])
    }
    insert_part_windows(
        (pk, ids[pk, key], own_rights(extra)) for pk, record in titles for key, extra in keyed_extras(record)
    )
    return ids


def keyed_extras(record: CatalogRecord) -> list[tuple[str, ExtraRecord]]:
    """Return the extras of a record with their keys."""
    keys = extra_keys((extra.external_id, extra.kind, extra.title) for extra in record.extras)
    return list(zip(keys, record.extras, strict=True))


def _extra_row(title_pk: int, key: str, position: int, extra: ExtraRecord) -> dict[str, Any]:
    rating = {"age_rating": rating_view(parse_age_rating(extra.age_rating))} if extra.age_rating else {}
    detail = {"artwork": artwork_view(extra.artwork), "tracks": tracks_view(extra.tracks)}
    return {
        "id": new_id("xtr"),
        "title_pk": title_pk,
        "key": key,
        "position": position,
        "kind": extra.kind,
        "title": extra.title,
        "runtime_s": extra.runtime_s,
        "detail": encode_json(detail | rating),
        "rights": encode_rights(own_rights(extra)),
        "media": encode_json(extra.media) if extra.media else None,
        "variants": encode_json(extra.variants) if extra.variants else None,
        "drm_keys": encode_json(extra.drm_keys) if extra.drm_keys else None,
        "removed_at": None,
    }
