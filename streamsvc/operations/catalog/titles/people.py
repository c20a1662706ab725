"""The people of credits: found by their id, else by their name, and created if there is nobody yet.

A credit without an id is that of the person without an id who has its name; if there is none, of the one person with an
id who has it. If there are several, nobody knows who is meant, and a person without an id is created.

The first id for a name that was known before goes to that person, who so keeps the public id, unless the name has
several ids: then only to the one whose title credited that person already.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from streamsvc.models import Person, TitleCredit
from streamsvc.operations.catalog.titles import bulk
from streamsvc.rules.catalog.record import CatalogRecord, Credit
from streamsvc.rules.catalog.sorting import MAX_KEY_LENGTH
from streamsvc.rules.catalog.text import fold_text
from streamsvc.storage.database import db, new_id

CreditKey = tuple[str | None, str]
"""What a credit names its person by: (id, "") or (None, name)."""
_meant = aliased(Person)
"""The person whom a row stands for: itself, or the one it was merged into."""
PEOPLE = sa.select(
    Person.pk.label("row_pk"), Person.name, Person.external_id, Person.merged_into, _meant.pk, _meant.id, _meant.picture
).join(_meant, _meant.pk == sa.func.coalesce(Person.merged_into, Person.pk))
PEOPLE_WITH_IDS = PEOPLE.where(Person.external_id.is_not(None))
PEOPLE_WITHOUT_IDS = PEOPLE.where(Person.external_id.is_(None))
CREDITED_PEOPLE = (
    sa.select(TitleCredit.title_pk, Person.pk, Person.id, Person.picture)
    .join(Person, Person.pk == TitleCredit.person_pk)
    .order_by(TitleCredit.title_pk, TitleCredit.position)
)


class CreditedPerson(NamedTuple):
    """What credits and title pages need to know of a person; `picture` is JSON."""

    pk: int
    id: str
    picture: str | None


PeopleByKey = dict[CreditKey, CreditedPerson]


def credit_key(credit: Credit) -> CreditKey:
    """Return what a credit names its person by."""
    return (credit.person, "") if credit.person else (None, credit.name)


def get_or_create_people(titles: Sequence[tuple[int, CatalogRecord]], cache: PeopleByKey) -> PeopleByKey:
    """Return the people of the credits of titles (pk, record), whose former credits must still be there."""
    credits = [(pk, credit) for pk, record in titles for credit in record.credits]
    names_by_id: dict[str, str] = {}
    titles_by_id: dict[str, set[int]] = {}
    for title_pk, credit in credits:
        if credit.person and (credit.person, "") not in cache:
            names_by_id.setdefault(credit.person, credit.name)
            titles_by_id.setdefault(credit.person, set()).add(title_pk)
    if names_by_id:
        get_or_create_people_with_ids(names_by_id, cache, titles_by_id)
    names = {credit.name for _, credit in credits if not credit.person}
    if missing := sorted(name for name in names if (None, name) not in cache):
        _get_or_create_people_without_ids(missing, cache)
    return cache


def get_or_create_people_with_ids(
    names_by_id: Mapping[str, str], cache: PeopleByKey, titles_by_id: Mapping[str, set[int]] | None = None
) -> None:
    """Put the people with these ids into the cache; `titles_by_id` are the titles to be written that name each id."""
    for row in bulk.select_rows_in(PEOPLE, Person.external_id, sorted(names_by_id)):
        cache[row.external_id, ""] = CreditedPerson(row.pk, row.id, row.picture)
    new_ids = [external_id for external_id in names_by_id if (external_id, "") not in cache]
    if not new_ids:
        return
    names = {names_by_id[external_id] for external_id in new_ids}
    adopted = _choose_known_people({new: names_by_id[new] for new in new_ids}, names, titles_by_id or {})
    for external_id, row in adopted.items():
        db.session.execute(sa.update(Person).where(Person.pk == row.pk).values(external_id=external_id))
        cache[external_id, ""] = CreditedPerson(row.pk, row.id, row.picture)
    created = [(names_by_id[new], new) for new in new_ids if new not in adopted]
    for (_, external_id), person in zip(created, _insert_people(created), strict=True):
        assert external_id is not None
        cache[external_id, ""] = person
    for name in names:
        cache.pop((None, name), None)


def _choose_known_people(
    names_by_id: Mapping[str, str], names: Collection[str], titles_by_id: Mapping[str, set[int]]
) -> dict[str, sa.Row]:
    """Return the people without an id who take one of these new ids, by id."""
    known: dict[str, sa.Row] = {}
    ids_of_name = Counter(names_by_id.values())
    for row in bulk.select_rows_in(PEOPLE_WITH_IDS, Person.name, sorted(names)):
        ids_of_name[row.name] += 1
    for row in bulk.select_rows_in(PEOPLE_WITHOUT_IDS, Person.name, sorted(names)):
        if row.merged_into is None:
            known[row.name] = row
    contested = [known[name] for name in known if ids_of_name[name] > 1]
    former = _list_titles_by_person([row.pk for row in contested])
    adopted: dict[str, sa.Row] = {}
    for external_id, name in names_by_id.items():
        if name not in known:
            continue
        if ids_of_name[name] == 1 or former.get(known[name].pk, set()) & titles_by_id.get(external_id, set()):
            adopted[external_id] = known.pop(name)
    return adopted


def _list_titles_by_person(person_pks: list[int]) -> dict[int, set[int]]:
    titles: dict[int, set[int]] = {}
    credits = sa.select(TitleCredit.person_pk, TitleCredit.title_pk)
    for row in bulk.select_rows_in(credits, TitleCredit.person_pk, person_pks):
        titles.setdefault(row.person_pk, set()).add(row.title_pk)
    return titles


def _get_or_create_people_without_ids(names: list[str], cache: PeopleByKey) -> None:
    for row in bulk.select_rows_in(PEOPLE_WITHOUT_IDS, Person.name, names):
        cache[None, row.name] = CreditedPerson(row.pk, row.id, row.picture)
    with_ids: dict[str, dict[int, CreditedPerson]] = {}
    unknown = [name for name in names if (None, name) not in cache]
    for row in bulk.select_rows_in(PEOPLE_WITH_IDS, Person.name, unknown):
        with_ids.setdefault(row.name, {})[row.pk] = CreditedPerson(row.pk, row.id, row.picture)
    cache.update({(None, name): next(iter(found.values())) for name, found in with_ids.items() if len(found) == 1})
    created = [(name, None) for name in names if (None, name) not in cache]
    for (name, _), person in zip(created, _insert_people(created), strict=True):
        cache[None, name] = person


def _insert_people(people: Sequence[tuple[str, str | None]]) -> list[CreditedPerson]:
    """Insert people (name, id) and return them in the same order."""
    rows = [
        (pk, new_id("per"), name, external_id, compute_name_key(name))
        for pk, (name, external_id) in zip(bulk.allocate_pks(Person, len(people)), people, strict=True)
    ]
    bulk.insert_rows(Person, ("pk", "id", "name", "external_id", "name_key"), rows)
    return [CreditedPerson(pk, person_id, None) for pk, person_id, *_ in rows]


def compute_name_key(name: str) -> str:
    """Return the key by which lists sort a person; never empty, which stands for a key that was not computed yet."""
    return (fold_text(name) or name)[:MAX_KEY_LENGTH]


def list_credited_people(title_pks: Iterable[int]) -> dict[int, list[Any]]:
    """Return the people of stored titles by title, in the order of the credits."""
    people: dict[int, list[Any]] = {}
    for row in bulk.select_rows_in(CREDITED_PEOPLE, TitleCredit.title_pk, title_pks):
        people.setdefault(row.title_pk, []).append(row)
    return people
