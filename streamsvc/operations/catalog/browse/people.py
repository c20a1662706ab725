"""A person with their credits, as JSON."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from streamsvc.http import pagination
from streamsvc.models import Person, Title, TitleCard, TitleCredit
from streamsvc.models.catalog.visibility import per_visibility
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.shown_cards import shown_cards
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.titles.cards import artwork_json
from streamsvc.operations.catalog.titles.json_fragments import encode_json, json_list, json_member, merge_json_objects
from streamsvc.rules.catalog.codes import language_fallbacks
from streamsvc.rules.catalog.inputs import PersonPageInput
from streamsvc.rules.catalog.person import PersonRecord, decode_stored_person
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.storage.database import fetch_all, fetch_one

_meant = aliased(Person)
PERSON_BY_ID = (
    sa.select(_meant.pk, _meant.id, _meant.name, _meant.external_id, _meant.body)
    .join(Person, _meant.pk == sa.func.coalesce(Person.merged_into, Person.pk))
    .where(Person.id == sa.bindparam("id"))
)
"""The person with an id, or the one they were merged into."""


def _credits_statement(visible: Any) -> sa.Select:
    year, pk, position = (sa.bindparam(name, type_=sa.Integer()) for name in ("year", "pk", "position"))
    after = sa.or_(
        pk.is_(None),
        sa.tuple_(Title.year_key, Title.pk) < sa.tuple_(year, pk),
        sa.and_(Title.pk == pk, TitleCredit.position > position),
    )
    return (
        sa.select(
            Title.pk, TitleCard.body, TitleCredit.role, TitleCredit.character, Title.year_key, TitleCredit.position
        )
        .join(TitleCredit, TitleCredit.title_pk == Title.pk)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(TitleCredit.person_pk == sa.bindparam("person"), visible, after)
        .order_by(Title.year_key.desc(), Title.pk.desc(), TitleCredit.position)
        .limit(sa.bindparam("limit"))
    )


CREDITS_OF_PERSON = per_visibility(_credits_statement)


def person_json(person_id: str, query: PersonPageInput, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """Return a person and a page of their credits in visible titles, newest first. Raises Invalid for a bad cursor.

    Raises NotFound if there are none.
    """
    row = fetch_one(PERSON_BY_ID, {"id": person_id})
    if row is None:
        raise NotFound
    scope = f"person:{row.id}"
    after = pagination.decode_cursor(scope, query["cursor"])
    position = dict(zip(("year", "pk", "position"), after or (None, None, None), strict=True))
    parameters = {**audience.sql_parameters(), **position, "person": row.pk, "limit": query["limit"] + 1}
    rows = fetch_all(CREDITS_OF_PERSON[audience.visibility], parameters)
    if not rows and not after:
        raise NotFound
    page = pagination.build_page(rows, query["limit"], scope, lambda r: [r.year_key, r.pk, r.position])
    cards = shown_cards(page["items"], audience, snapshot, query["locale"])
    credits = [
        merge_json_objects(
            encode_json({"role": credit.role, "character": credit.character}), json_member("title", card)
        )
        for credit, card in zip(page["items"], cards, strict=True)
    ]
    return merge_json_objects(
        encode_json({"id": row.id}),
        _person_texts_json(row, query["locale"] or audience.language),
        json_member("credits", json_list(credits)),
        encode_json({"next_cursor": page["next_cursor"]}),
    )


def _person_texts_json(row: sa.Row, language: str | None) -> str:
    record = decode_stored_person(row.body) if row.body else PersonRecord(row.external_id or "", row.name)
    texts = {
        "name": _localized_text(record, language, "name"),
        "sort_name": record.sort_name,
        "born_on": record.born_on,
        "died_on": record.died_on,
        "biography": _localized_text(record, language, "biography"),
        "external_ids": record.external_ids,
    }
    return merge_json_objects(encode_json(texts), json_member("artwork", artwork_json(record.artwork)))


def _localized_text(record: PersonRecord, language: str | None, name: str) -> str | None:
    """Return a text in the closest language that has it; each text falls back independently."""
    nearest = [record.localizations[tag] for tag in language_fallbacks(language) if tag in record.localizations]
    return next((text for texts in (*nearest, record) if (text := getattr(texts, name))), None)
