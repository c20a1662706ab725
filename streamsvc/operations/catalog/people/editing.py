"""Operators read, replace, list and merge people."""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import aliased

from streamsvc.http import pagination
from streamsvc.models import Person, TitleCredit
from streamsvc.operations.catalog.people.writing import enqueue_detail_updates, write_people
from streamsvc.operations.catalog.titles import writing
from streamsvc.rules.catalog.inputs import PeopleInput
from streamsvc.rules.catalog.person import convert_person
from streamsvc.rules.catalog.record import InvalidRecord
from streamsvc.rules.catalog.text import fold_text
from streamsvc.rules.refusals.catalog import AlreadyMerged
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, fetch_all, fetch_existing, fetch_one

PUBLIC_PREFIX = "per_"
LAST_CHARACTER = "\U0010ffff"
_name: sa.BindParameter[str] = sa.bindparam("name")
STORED_PERSON = sa.select(Person.pk, Person.id, Person.external_id, Person.name, Person.body, Person.picture).where(
    sa.or_(Person.external_id == _name, Person.id == _name), Person.body.is_not(None)
)
_target = aliased(Person)
_titles = (
    sa.select(sa.func.count(TitleCredit.title_pk.distinct()))
    .where(TitleCredit.person_pk == Person.pk)
    .correlate(Person)
    .scalar_subquery()
)
PEOPLE = (
    sa.select(
        Person.pk,
        Person.id,
        Person.external_id,
        Person.name,
        Person.name_key,
        Person.body.is_not(None).label("has_record"),
        _target.id.label("merged_into"),
        _titles.label("titles"),
    )
    .outerjoin(_target, _target.pk == Person.merged_into)
    .order_by(Person.name_key, Person.pk)
)
BY_ID = sa.or_(Person.external_id == sa.bindparam("q"), Person.id == sa.bindparam("q"))
BY_NAME = sa.and_(Person.name_key >= sa.bindparam("first"), Person.name_key <= sa.bindparam("last"))
AFTER = sa.tuple_(Person.name_key, Person.pk) > sa.tuple_(
    sa.bindparam("after_key", type_=sa.String()), sa.bindparam("after_pk", type_=sa.Integer())
)


def lock_person(external_id: str) -> sa.Row | None:
    """Return a person of whom the operator says something, locked until the transaction ends; None without any."""
    writing.lock_catalog()
    return db.session.execute(STORED_PERSON, {"name": external_id}).first()


def get_person(external_id: str) -> sa.Row:
    """Return a person of whom the operator says something, by either id. Raises NotFound."""
    row = fetch_one(STORED_PERSON, {"name": external_id})
    if row is None:
        raise NotFound
    return row


def decode_person_record(row: sa.Row) -> dict:
    """Return a stored person's record as JSON values, as in the catalogue file."""
    return msgspec.json.decode(row.body)


def replace_person(external_id: str, body: dict, row: sa.Row | None, now: datetime) -> None:
    """Replace the record of a locked person, or create it if `row` is None. Raises Invalid and NotFound."""
    if row is None and external_id.startswith(PUBLIC_PREFIX):
        raise NotFound
    if body.setdefault("external_id", external_id) != external_id:
        raise Invalid(errors={"external_id": ["Must match the external_id in the URL."]})
    if "id" in body and (row is None or body.pop("id") != row.id):
        raise Invalid(errors={"id": ["Must be the person's own id; omit it for a new person."]})
    try:
        record = convert_person(body)
    except InvalidRecord as invalid:
        errors: dict[str, list[str]] = {}
        for error in invalid.errors:
            errors.setdefault(error.field or "_", []).append(error.reason)
        raise Invalid(errors=errors) from None
    write_people([record], now)


def list_people(query: PeopleInput) -> dict:
    """Return a page of people by name. Raises Invalid for a bad cursor."""
    parameters: dict[str, Any] = {}
    statement = PEOPLE
    if query["q"] and (":" in query["q"] or query["q"].startswith(PUBLIC_PREFIX)):
        statement, parameters = PEOPLE.where(BY_ID), {"q": query["q"]}
    elif query["q"] and (prefix := fold_text(query["q"])):
        statement, parameters = PEOPLE.where(BY_NAME), {"first": prefix, "last": prefix + LAST_CHARACTER}
    scope = f"people:{query['q']}"
    total = {}
    if query["include_total"]:
        count = pagination.bounded_count(statement.with_only_columns(Person.pk))
        total = pagination.total_members(fetch_existing(count, parameters)[0])
    if after := pagination.decode_cursor(scope, query["cursor"]):
        statement, parameters = statement.where(AFTER), parameters | {"after_key": after[0], "after_pk": after[1]}
    rows = fetch_all(statement.limit(query["limit"] + 1), parameters)
    return pagination.build_page(rows, query["limit"], scope, lambda row: [row.name_key, row.pk]) | total


def merge_person(person_id: str, into: str, dry_run: bool, now: datetime) -> dict:
    """Merge a person into another, in the caller's transaction; return {id, merged, titles, credits, dry_run}.

    Names and ids that led to the person lead to the other from now on. Raises NotFound, Invalid, AlreadyMerged.
    """
    writing.lock_catalog()
    person, target = _find_person(person_id), _find_person(into)
    if person is None:
        raise NotFound
    if target is None or target.pk == person.pk or target.merged_into:
        raise Invalid(errors={"into": ["Must be the id of another person who is not merged."]})
    if person.merged_into:
        raise AlreadyMerged
    if person.external_id and not target.external_id:
        raise Invalid(errors={"into": ["Must have an external_id if the person to be merged has one."]})
    of_person = TitleCredit.person_pk == person.pk
    counts = sa.select(sa.func.count(), sa.func.count(TitleCredit.title_pk.distinct())).where(of_person)
    credits, titles = db.session.execute(counts).one()
    if not dry_run:
        db.session.execute(sa.update(TitleCredit).where(of_person).values(person_pk=target.pk))
        for leads_there in (Person.pk == person.pk, Person.merged_into == person.pk):
            db.session.execute(sa.update(Person).where(leads_there).values(merged_into=target.pk))
        enqueue_detail_updates([target.pk], now)
        writing.increment_catalog_version()
    return {"id": target.id, "merged": person.id, "titles": titles, "credits": credits, "dry_run": dry_run}


def _find_person(person_id: str) -> sa.Row | None:
    columns = (Person.pk, Person.id, Person.external_id, Person.merged_into)
    return db.session.execute(sa.select(*columns).where(Person.id == person_id)).first()
