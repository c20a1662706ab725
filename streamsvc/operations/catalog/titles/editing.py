"""One title, put by an operator; its record as it is kept; taking it out."""

from datetime import datetime

import msgspec
import sqlalchemy as sa

from streamsvc.models import Title, TitleRecord
from streamsvc.operations.catalog.titles import writing
from streamsvc.operations.catalog.titles.json_fragments import dumped, joined
from streamsvc.rules.catalog.record import Flawed, converted
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, one_row

_name = sa.bindparam("name")
KEPT = (
    sa.select(Title.pk, Title.id, Title.external_id, TitleRecord.body)
    .join(TitleRecord, TitleRecord.title_pk == Title.pk)
    .where(sa.or_(Title.external_id == _name, Title.id == _name), Title.removed_at.is_(None))
    .order_by(Title.external_id != _name)
    .limit(1)
)


def held(name: str) -> sa.Row | None:
    """The kept title of this external id or id, None for none; nobody else changes it until the unit of work ends."""
    writing.begin()
    return db.session.execute(KEPT, {"name": name}).first()


def shown(name: str) -> sa.Row:
    """The kept title of this external id or id: pk, id, external_id, body. Raises NotFound."""
    row = one_row(KEPT, {"name": name})
    if row is None:
        raise NotFound
    return row


def told(row: sa.Row) -> str:
    """A kept title's record as JSON, with the title's id."""
    return joined(dumped({"id": row.id}), row.body)


def record_of(row: sa.Row) -> dict:
    """A kept title's record as the catalogue file says it."""
    return msgspec.json.decode(row.body)


def merged(whole, change):
    """A JSON value with a change laid over it: members are replaced, objects merged, null takes out (RFC 7396)."""
    if not isinstance(change, dict):
        return change
    whole = whole if isinstance(whole, dict) else {}
    kept = {name: value for name, value in whole.items() if name not in change}
    return kept | {name: merged(whole.get(name), value) for name, value in change.items() if value is not None}


def put(external_id: str, given: dict, row: sa.Row | None, now: datetime) -> None:
    """Make the record of a held title, or of a new one, what is given. Raises Invalid."""
    if given.setdefault("external_id", external_id) != external_id:
        raise Invalid(errors={"external_id": ["It is the one in the address."]})
    if "id" in given and (row is None or given.pop("id") != row.id):
        raise Invalid(errors={"id": ["The service gives it."]})
    try:
        record = converted(given)
    except Flawed as flawed:
        errors: dict[str, list[str]] = {}
        for flaw in flawed.flaws:
            errors.setdefault(flaw.field or "_", []).append(flaw.reason)
        raise Invalid(errors=errors) from None
    writing.write([record], now)


def remove(row: sa.Row, now: datetime) -> None:
    """Take a held title out of the catalogue. Its id waits for its return."""
    withdraw([row.pk], now)
    writing.touch()


def withdraw(pks: list[int], now: datetime) -> None:
    """Take titles out: no list, search or detail shows what is removed."""
    db.session.execute(sa.update(Title).where(Title.pk.in_(pks)).values(removed_at=now))
