"""One title, put by an operator; its record as it is kept; taking it out."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.database import db, one_row
from streamsvc.models import Title, TitleRecord
from streamsvc.operations.catalog import writing
from streamsvc.operations.catalog.json import dumped, joined
from streamsvc.rules.catalog.record import Flawed, converted
from streamsvc.rules.refusals import Invalid, NotFound

KEPT = (
    sa.select(Title.pk, Title.id, TitleRecord.body)
    .join(TitleRecord, TitleRecord.title_pk == Title.pk)
    .where(Title.external_id == sa.bindparam("external_id"), Title.removed_at.is_(None))
)


def put(external_id: str, given: dict, now: datetime) -> None:
    """Make one title's record what is given, in the caller's unit of work. Raises Invalid."""
    if given.setdefault("external_id", external_id) != external_id:
        raise Invalid(errors={"external_id": ["It is the one in the address."]})
    try:
        record = converted(given)
    except Flawed as flawed:
        errors: dict[str, list[str]] = {}
        for flaw in flawed.flaws:
            errors.setdefault(flaw.field or "_", []).append(flaw.reason)
        raise Invalid(errors=errors) from None
    writing.write([record], now)


def shown(external_id: str) -> str:
    """The record as JSON, with the title's id. Raises NotFound."""
    row = one_row(KEPT, {"external_id": external_id})
    if row is None:
        raise NotFound
    return joined(dumped({"id": row.id}), row.body)


def remove(external_id: str, now: datetime) -> None:
    """Take a title out of the catalogue, in the caller's unit of work. Its id waits for its return. Raises NotFound."""
    writing.begin()
    row = db.session.execute(KEPT, {"external_id": external_id}).first()
    if row is None:
        raise NotFound
    withdraw([row.pk], now)
    writing.touch()


def withdraw(pks: list[int], now: datetime) -> None:
    """Take titles out: no list, search or detail shows what is removed."""
    db.session.execute(sa.update(Title).where(Title.pk.in_(pks)).values(removed_at=now))
