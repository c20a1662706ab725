"""Writes what operators say of people, and brings the pages of their titles up to date."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Person, TitleCredit, TitleDetail, TitleRecord
from streamsvc.operations.catalog.titles import bulk, cards, people, writing
from streamsvc.rules.catalog.person import PersonRecord, encode_person
from streamsvc.rules.catalog.record import decode_stored_record
from streamsvc.storage.chunked_writes import let_others_write
from streamsvc.storage.database import db
from streamsvc.worker import jobs

MAX_RUN_TIME = timedelta(seconds=15)
"""How long one job works on pages of titles before other jobs run; well below a job's lease."""
TITLES_PER_TRANSACTION = 250
STORED_PEOPLE = sa.select(Person.pk, Person.external_id, Person.name, Person.body, Person.picture)
UPDATE_PERSON = (
    sa.update(Person)
    .where(Person.pk == sa.bindparam("person_pk"))
    .values({name: sa.bindparam(name) for name in ("name", "name_key", "body", "picture")})
)
TITLES_OF_PEOPLE = (
    sa.select(TitleCredit.title_pk)
    .where(
        TitleCredit.person_pk.in_(sa.bindparam("people", expanding=True)),
        TitleCredit.title_pk > sa.bindparam("after"),
    )
    .distinct()
    .order_by(TitleCredit.title_pk)
    .limit(TITLES_PER_TRANSACTION)
)
PEOPLE_WITHOUT_KEY = sa.select(Person.pk, Person.name).where(Person.name_key == "").limit(TITLES_PER_TRANSACTION)
RECORDS = sa.select(TitleRecord.title_pk, TitleRecord.body)


def write_people(records: Iterable[PersonRecord], now: datetime, cache: people.PeopleByKey | None = None) -> Counter:
    """Create or update people in the caller's transaction; return counts by outcome.

    A record equal to the stored one changes nothing. Of two records with one external id the later counts. The job
    that is enqueued for it changes the pictures on the pages of their titles.
    """
    cache = {} if cache is None else cache
    writing.lock_catalog()
    encoded = {record.external_id: (record, encode_person(record)) for record in records}
    bodies = {row.external_id: row.body for row in bulk.select_rows_in(STORED_PEOPLE, Person.external_id, encoded)}
    changed = {name: record for name, (record, body) in encoded.items() if bodies.get(name) != body}
    if changed:
        people.get_or_create_people_with_ids({name: record.name for name, record in changed.items()}, cache)
        _update_people(list(changed.values()), now, cache)
        writing.increment_catalog_version()
    added = sum(not bodies.get(name) for name in changed)
    return Counter(added=added, changed=len(changed) - added, unchanged=len(encoded) - len(changed))


def delete_person_record(row: sa.Row, now: datetime) -> None:
    """Delete what the operator says of a locked person, in the caller's transaction; credits keep the name."""
    nothing = {"name": row.name, "name_key": people.compute_name_key(row.name), "body": None, "picture": None}
    db.session.connection().execute(UPDATE_PERSON, [{"person_pk": row.pk, **nothing}])
    if row.picture:
        enqueue_detail_updates([row.pk], now)
    writing.increment_catalog_version()


def _update_people(records: Sequence[PersonRecord], now: datetime, cache: people.PeopleByKey) -> None:
    by_id = {record.external_id: record for record in records}
    rows = {row.external_id: row for row in bulk.select_rows_in(STORED_PEOPLE, Person.external_id, by_id)}
    new_pictures, values = [], []
    for external_id, record in by_id.items():
        row, picture = rows[external_id], record.picture
        picture_json = cards.artwork_json([picture])[1:-1] if picture else None
        if picture_json != row.picture:
            new_pictures.append(row.pk)
        texts = {"name": record.name, "name_key": people.compute_name_key(record.name), "body": encode_person(record)}
        values.append({"person_pk": row.pk, **texts, "picture": picture_json})
        for key in ((external_id, ""), (None, row.name), (None, record.name)):
            cache.pop(key, None)
    db.session.connection().execute(UPDATE_PERSON, values)
    enqueue_detail_updates(new_pictures, now)


def enqueue_detail_updates(person_pks: Sequence[int], now: datetime) -> None:
    """Enqueue the update of the pages of people's titles, in the caller's transaction."""
    credited = sa.select(TitleCredit.person_pk).distinct()
    with_titles = [row.person_pk for row in bulk.select_rows_in(credited, TitleCredit.person_pk, person_pks)]
    for chunk in bulk.in_chunks(sorted(with_titles)):
        jobs.enqueue_job("catalog_credits", {"people": chunk, "after": 0}, now)


@jobs.job_handler("catalog_credits", jobs.BULK_LANE)
def handle_credit_updates(payload: dict, now: datetime) -> None:
    """Update the pages of titles after the last one done; enqueue another job when the time is up."""
    until, after = clock.wall_time() + MAX_RUN_TIME, payload["after"]
    while (after := update_details(payload["people"], after)) and clock.wall_time() < until:
        db.session.commit()
        let_others_write()
    if after:
        jobs.enqueue_job("catalog_credits", {"people": payload["people"], "after": after}, now)


def update_details(person_pks: list[int], after: int) -> int | None:
    """Rebuild the pages of a batch of people's titles with keys after `after`, in the caller's transaction.

    Returns the last title's key, None at the end.
    """
    writing.lock_catalog()
    title_pks = list(db.session.scalars(TITLES_OF_PEOPLE, {"people": person_pks, "after": after}))
    credited = people.list_credited_people(title_pks)
    values = [
        {"pk": row.title_pk, "new": cards.detail_json(decode_stored_record(row.body), credited.get(row.title_pk, []))}
        for row in bulk.select_rows_in(RECORDS, TitleRecord.title_pk, title_pks)
    ]
    if values:
        update = sa.update(TitleDetail).where(TitleDetail.title_pk == sa.bindparam("pk"))
        db.session.connection().execute(update.values(body=sa.bindparam("new")), values)
        writing.increment_catalog_version()
    return title_pks[-1] if title_pks else None


@jobs.recurring_job("catalog_people_keys", timedelta(minutes=1))
def compute_missing_name_keys(payload: dict, now: datetime) -> None:
    """Compute the sort keys of people who were stored before people had any, until the time is up."""
    until = clock.wall_time() + MAX_RUN_TIME
    while db.session.execute(PEOPLE_WITHOUT_KEY).first() and clock.wall_time() < until:
        writing.lock_catalog()
        keys = {row.pk: people.compute_name_key(row.name) for row in db.session.execute(PEOPLE_WITHOUT_KEY)}
        for pk, key in keys.items():
            db.session.execute(sa.update(Person).where(Person.pk == pk).values(name_key=key))
        db.session.commit()
        let_others_write()
