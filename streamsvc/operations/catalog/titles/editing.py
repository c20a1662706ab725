"""Editing one title: reading its stored record, replacing it, removing the title."""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc.models import Title, TitleRecord
from streamsvc.operations.catalog.titles import writing
from streamsvc.operations.catalog.titles.media_conflicts import find_title_conflicts
from streamsvc.rules.catalog.record import InvalidRecord, convert_record
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, fetch_one

_name: sa.BindParameter[str] = sa.bindparam("name")
STORED_TITLE = (
    sa.select(Title.pk, Title.id, Title.external_id, TitleRecord.body)
    .join(TitleRecord, TitleRecord.title_pk == Title.pk)
    .where(sa.or_(Title.external_id == _name, Title.id == _name), Title.removed_at.is_(None))
    .order_by(Title.external_id != _name)
    .limit(1)
)


def lock_title(id_or_external_id: str) -> sa.Row | None:
    """Return the stored title, locked until the transaction ends; None if there is none."""
    writing.lock_catalog()
    return db.session.execute(STORED_TITLE, {"name": id_or_external_id}).first()


def get_title(id_or_external_id: str) -> sa.Row:
    """Return the stored title: pk, id, external_id, body. Raises NotFound."""
    row = fetch_one(STORED_TITLE, {"name": id_or_external_id})
    if row is None:
        raise NotFound
    return row


def decode_title_record(row: sa.Row) -> dict:
    """Return a stored title's record as JSON values, as in the catalogue file."""
    return msgspec.json.decode(row.body)


def apply_merge_patch(document: Any, patch: Any) -> Any:
    """Return a JSON value with a merge patch applied (RFC 7396): objects are merged and null removes a member."""
    if not isinstance(patch, dict):
        return patch
    document = document if isinstance(document, dict) else {}
    unchanged = {name: value for name, value in document.items() if name not in patch}
    return unchanged | {
        name: apply_merge_patch(document.get(name), value) for name, value in patch.items() if value is not None
    }


def replace_title(external_id: str, body: dict, row: sa.Row | None, now: datetime) -> None:
    """Replace the record of a locked title, or create the title if `row` is None. Raises Invalid."""
    if body.setdefault("external_id", external_id) != external_id:
        raise Invalid(errors={"external_id": ["Must match the external_id in the URL."]})
    if "id" in body and (row is None or body.pop("id") != row.id):
        raise Invalid(errors={"id": ["Must be the title's own id; omit it for a new title."]})
    try:
        record = convert_record(body)
        if conflicts := find_title_conflicts([record]):
            raise InvalidRecord(*conflicts[record.external_id])
    except InvalidRecord as invalid:
        errors: dict[str, list[str]] = {}
        for error in invalid.errors:
            errors.setdefault(error.field or "_", []).append(error.reason)
        raise Invalid(errors=errors) from None
    writing.write_titles([record], now)


def remove_title(row: sa.Row, now: datetime) -> None:
    """Remove a locked title from the catalogue; if it is created again, it gets its old id."""
    mark_titles_removed([row.pk], now)
    writing.increment_catalog_version()


def mark_titles_removed(pks: list[int], now: datetime) -> None:
    """Mark titles as removed, which hides them from every list, search and page."""
    db.session.execute(sa.update(Title).where(Title.pk.in_(pks)).values(removed_at=now))
