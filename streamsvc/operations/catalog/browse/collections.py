"""Collections: titles that an operator put together, in the operator's order; and the rows of the home page."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Collection, CollectionItem, Facet, HomeRow, Title, TitleCard, TitleFacet
from streamsvc.models.catalog.visibility import IN_CATALOG, VISIBLE
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.lists import told
from streamsvc.operations.catalog.reading.version import Known
from streamsvc.operations.catalog.titles import bulk, writing
from streamsvc.operations.catalog.titles.json_fragments import dumped, joined, json_page
from streamsvc.rules.catalog.codes import fallbacks
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import all_rows, db, one_row

COLUMNS = (Collection.pk, Collection.id, Collection.code, Collection.title, Collection.localizations)
NAMED = sa.select(*COLUMNS).where(
    sa.or_(Collection.id == sa.bindparam("name"), Collection.code == sa.bindparam("name"))
)


def _items(shown):
    return (
        sa.select(Title.pk, TitleCard.body, CollectionItem.position)
        .join(CollectionItem, CollectionItem.title_pk == Title.pk)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(
            CollectionItem.collection_pk == sa.bindparam("collection"),
            CollectionItem.position > sa.bindparam("after"),
            shown,
        )
        .order_by(CollectionItem.position)
        .limit(sa.bindparam("limit"))
    )


def _count(shown):
    return (
        sa.select(sa.func.count())
        .select_from(CollectionItem)
        .join(Title, Title.pk == CollectionItem.title_pk)
        .where(CollectionItem.collection_pk == sa.bindparam("collection"), shown)
    )


ITEMS = {True: _items(IN_CATALOG), False: _items(VISIBLE)}
COUNT = {True: _count(IN_CATALOG), False: _count(VISIBLE)}


def named(name: str) -> sa.Row:
    """The collection with this id or code. Raises NotFound."""
    row = one_row(NAMED, {"name": name})
    if row is None:
        raise NotFound
    return row


def items(collection_pk: int, audience: Audience, limit: int, after: int = -1) -> list[sa.Row]:
    """(key, card, position) of a collection's titles that the audience may see, in the operator's order."""
    parameters = {**audience.parameters(), "collection": collection_pk, "after": after, "limit": limit}
    return all_rows(ITEMS[audience.sees_all], parameters)


def page(name: str, asked: dict, audience: Audience, known: Known) -> str:
    """A collection with a page of its titles, as JSON."""
    row = named(name)
    language = asked["locale"] or audience.language
    scope = f"collection:{row.id}"
    after = pagination.decode(scope, asked["cursor"]) or [-1]
    shown = pagination.page(
        items(row.pk, audience, asked["limit"] + 1, *after), asked["limit"], scope, lambda item: [item.position]
    )
    total = None
    if asked["include_total"]:
        total = one_row(COUNT[audience.sees_all], {**audience.parameters(), "collection": row.pk})[0]
    return joined(
        dumped({"id": row.id, "code": row.code, "title": in_language(row, language)}),
        json_page(told(shown["items"], language, known), shown["next_cursor"], total),
    )


def page_of_all(asked: dict, audience: Audience) -> str:
    """Collections with at least one title for the audience, as JSON."""
    language = asked["locale"] or audience.language
    every = all_rows(sa.select(*COLUMNS).order_by(Collection.pk))
    shown = pagination.short_page(
        [row for row in every if audience.sees_all or items(row.pk, audience, 1)],
        asked,
        "collections",
        lambda row: [row.pk],
    )
    shown["items"] = [{"id": row.id, "code": row.code, "title": in_language(row, language)} for row in shown["items"]]
    return dumped(shown)


def in_language(row, language: str | None) -> str:
    """A collection's or a row's title in the language that comes closest."""
    return next((row.localizations[tag] for tag in fallbacks(language) if tag in row.localizations), row.title)


def put(code: str, given: dict, now: datetime) -> str:
    """Make a collection what is given, in the caller's unit of work; its id. Raises Invalid for an unknown title."""
    writing.begin()
    known = {
        name: row
        for row in bulk.rows_by(_TITLES, Title.external_id, given["items"])
        for name in (row.external_id, row.id)
    }
    known |= {row.id: row for row in bulk.rows_by(_TITLES, Title.id, given["items"])}
    if unknown := [name for name in given["items"] if name not in known]:
        raise Invalid(errors={"items": [f"There is no title {unknown[0]!r}."]})
    rows = list({known[name].pk: known[name] for name in given["items"]}.values())
    row = db.session.scalar(sa.select(Collection).where(Collection.code == code)) or Collection(code=code)
    row.title, row.localizations = given["title"], given["localizations"]
    db.session.add(row)
    db.session.flush()
    _clear(row)
    facet = writing.facet_pks({("collection", code)}, writing.Memory())["collection", code]
    keys = ("sort_title", "year_key", "rank")
    bulk.add(
        TitleFacet,
        ("facet_pk", "title_pk", *keys),
        [(facet, title.pk, *(getattr(title, key) for key in keys)) for title in rows],
    )
    bulk.add(
        CollectionItem,
        ("collection_pk", "position", "title_pk"),
        [(row.pk, position, title.pk) for position, title in enumerate(rows)],
    )
    writing.touch()
    return row.id


_TITLES = sa.select(Title.pk, Title.id, Title.external_id, Title.sort_title, Title.year_key, Title.rank).where(
    Title.removed_at.is_(None)
)


def kept(code: str) -> dict:
    """A collection as it was put, with its id; titles by their external ids. Raises NotFound."""
    row = db.session.scalar(sa.select(Collection).where(Collection.code == code))
    if row is None:
        raise NotFound
    names = (
        sa.select(Title.external_id)
        .join(CollectionItem, CollectionItem.title_pk == Title.pk)
        .where(CollectionItem.collection_pk == row.pk, Title.removed_at.is_(None))
        .order_by(CollectionItem.position)
    )
    columns = {name: getattr(row, name) for name in ("id", "code", "title", "localizations")}
    return columns | {"items": list(db.session.scalars(names))}


def remove(code: str) -> None:
    """Drop a collection and the home rows that show it, in the caller's unit of work. Raises NotFound."""
    writing.begin()
    row = db.session.scalar(sa.select(Collection).where(Collection.code == code))
    if row is None:
        raise NotFound
    _clear(row)
    db.session.execute(sa.delete(HomeRow).where(HomeRow.kind == "collection", HomeRow.code == code))
    db.session.execute(sa.delete(Facet).where(Facet.kind == "collection", Facet.code == code))
    db.session.delete(row)
    writing.touch()


def _clear(row):
    facet = sa.select(Facet.pk).where(Facet.kind == "collection", Facet.code == row.code)
    db.session.execute(sa.delete(TitleFacet).where(TitleFacet.facet_pk.in_(facet)))
    db.session.execute(sa.delete(CollectionItem).where(CollectionItem.collection_pk == row.pk))
