"""One title, put by an operator; its record as it is kept; taking it out."""

from datetime import datetime

import msgspec
import sqlalchemy as sa

from streamsvc.models import Title, TitleRecord
from streamsvc.operations.catalog.titles import writing
from streamsvc.operations.catalog.titles.json_fragments import encode_json, merge_json_objects
from streamsvc.rules.catalog.record import InvalidRecord, convert_record
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, fetch_one

_name = sa.bindparam("name")
STORED_TITLE = (
    sa.select(Title.pk, Title.id, Title.external_id, TitleRecord.body)
    .join(TitleRecord, TitleRecord.title_pk == Title.pk)
    .where(sa.or_(Title.external_id == _name, Title.id == _name), Title.removed_at.is_(None))
    .order_by(Title.external_id != _name)
    .limit(1)
)


def lock_title(id_or_external_id: str) -> sa.Row | None:
    """The kept title of this external id or id, None for none; nobody else changes it until the unit of work ends."""
    writing.lock_catalog()
    return db.session.execute(STORED_TITLE, {"name": id_or_external_id}).first()


def get_title(id_or_external_id: str) -> sa.Row:
    """The kept title of this external id or id: pk, id, external_id, body. Raises NotFound."""
    row = fetch_one(STORED_TITLE, {"name": id_or_external_id})
    if row is None:
        raise NotFound
    return row


def title_record_json(row: sa.Row) -> str:
    """A kept title's record as JSON, with the title's id."""
    return merge_json_objects(encode_json({"id": row.id}), row.body)


def decode_title_record(row: sa.Row) -> dict:
    """A kept title's record as the catalogue file says it."""
    return msgspec.json.decode(row.body)


def apply_merge_patch(document, patch):
    """A JSON value with a change laid over it: members are replaced, objects merged, null takes out (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    document = document if isinstance(document, dict) else {}
    kept = {name: value for name, value in document.items() if name not in patch}
    return kept | {
        name: apply_merge_patch(document.get(name), value) for name, value in patch.items() if value is not None
    }


def replace_title(external_id: str, body: dict, row: sa.Row | None, now: datetime) -> None:
    """Make the record of a held title, or of a new one, what is given. Raises Invalid."""
    if body.setdefault("external_id", external_id) != external_id:
        raise Invalid(errors={"external_id": ["It is the one in the address."]})
    if "id" in body and (row is None or body.pop("id") != row.id):
        raise Invalid(errors={"id": ["The service gives it."]})
    try:
        record = convert_record(body)
    except InvalidRecord as flawed:
        errors: dict[str, list[str]] = {}
        for flaw in flawed.errors:
            errors.setdefault(flaw.field or "_", []).append(flaw.reason)
        raise Invalid(errors=errors) from None
    writing.write_titles([record], now)


def remove_title(row: sa.Row, now: datetime) -> None:
    """Take a held title out of the catalogue. Its id waits for its return."""
    mark_titles_removed([row.pk], now)
    writing.increment_catalog_version()


def mark_titles_removed(pks: list[int], now: datetime) -> None:
    """Take titles out: no list, search or detail shows what is removed."""
    db.session.execute(sa.update(Title).where(Title.pk.in_(pks)).values(removed_at=now))
