"""Collections: titles that an operator put together, in the operator's order; and the rows of the home page."""

from datetime import datetime

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Collection, CollectionItem, Facet, HomeRow, Title, TitleCard, TitleFacet
from streamsvc.models.catalog.visibility import IN_CATALOG, VISIBLE
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.lists import localized_cards
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.titles import bulk, writing
from streamsvc.operations.catalog.titles.json_fragments import encode_json, json_page, merge_json_objects
from streamsvc.rules.catalog.codes import language_fallbacks
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, fetch_all, fetch_one

COLLECTION_COLUMNS = (Collection.pk, Collection.id, Collection.code, Collection.title, Collection.localizations)
COLLECTION_BY_ID_OR_CODE = sa.select(*COLLECTION_COLUMNS).where(
    sa.or_(Collection.id == sa.bindparam("name"), Collection.code == sa.bindparam("name"))
)


def _items_statement(shown):
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


def _item_count_statement(shown):
    return (
        sa.select(sa.func.count())
        .select_from(CollectionItem)
        .join(Title, Title.pk == CollectionItem.title_pk)
        .where(CollectionItem.collection_pk == sa.bindparam("collection"), shown)
    )


COLLECTION_ITEMS = {True: _items_statement(IN_CATALOG), False: _items_statement(VISIBLE)}
COLLECTION_ITEM_COUNT = {True: _item_count_statement(IN_CATALOG), False: _item_count_statement(VISIBLE)}


def get_collection(id_or_code: str) -> sa.Row:
    """The collection with this id or code. Raises NotFound."""
    row = fetch_one(COLLECTION_BY_ID_OR_CODE, {"name": id_or_code})
    if row is None:
        raise NotFound
    return row


def list_collection_items(collection_pk: int, audience: Audience, limit: int, after: int = -1) -> list[sa.Row]:
    """(key, card, position) of a collection's titles that the audience may see, in the operator's order."""
    parameters = {**audience.sql_parameters(), "collection": collection_pk, "after": after, "limit": limit}
    return fetch_all(COLLECTION_ITEMS[audience.sees_all], parameters)


def collection_page_json(id_or_code: str, query: dict, audience: Audience, snapshot: CatalogSnapshot) -> str:
    """A collection with a page of its titles, as JSON."""
    row = get_collection(id_or_code)
    language = query["locale"] or audience.language
    scope = f"collection:{row.id}"
    after = pagination.decode_cursor(scope, query["cursor"]) or [-1]
    shown = pagination.build_page(
        list_collection_items(row.pk, audience, query["limit"] + 1, *after),
        query["limit"],
        scope,
        lambda item: [item.position],
    )
    total = None
    if query["include_total"]:
        total = fetch_one(
            COLLECTION_ITEM_COUNT[audience.sees_all], {**audience.sql_parameters(), "collection": row.pk}
        )[0]
    return merge_json_objects(
        encode_json({"id": row.id, "code": row.code, "title": localized_title(row, language)}),
        json_page(localized_cards(shown["items"], language, snapshot), shown["next_cursor"], total),
    )


def collections_json(query: dict, audience: Audience) -> str:
    """Collections with at least one title for the audience, as JSON."""
    language = query["locale"] or audience.language
    every = fetch_all(sa.select(*COLLECTION_COLUMNS).order_by(Collection.pk))
    shown = pagination.paginate_list(
        [row for row in every if audience.sees_all or list_collection_items(row.pk, audience, 1)],
        query,
        "collections",
        lambda row: [row.pk],
    )
    shown["items"] = [
        {"id": row.id, "code": row.code, "title": localized_title(row, language)} for row in shown["items"]
    ]
    return encode_json(shown)


def localized_title(row, language: str | None) -> str:
    """A collection's or a row's title in the language that comes closest."""
    return next((row.localizations[tag] for tag in language_fallbacks(language) if tag in row.localizations), row.title)


def replace_collection(code: str, body: dict, now: datetime) -> str:
    """Make a collection what is given, in the caller's unit of work; its id. Raises Invalid for an unknown title."""
    writing.lock_catalog()
    known = {
        name: row
        for row in bulk.select_rows_in(_TITLE_SORT_KEYS, Title.external_id, body["items"])
        for name in (row.external_id, row.id)
    }
    known |= {row.id: row for row in bulk.select_rows_in(_TITLE_SORT_KEYS, Title.id, body["items"])}
    if unknown := [name for name in body["items"] if name not in known]:
        raise Invalid(errors={"items": [f"There is no title {unknown[0]!r}."]})
    rows = list({known[name].pk: known[name] for name in body["items"]}.values())
    row = db.session.scalar(sa.select(Collection).where(Collection.code == code)) or Collection(code=code)
    row.title, row.localizations = body["title"], body["localizations"]
    db.session.add(row)
    db.session.flush()
    _delete_items(row)
    facet = writing.get_or_create_facets({("collection", code)}, writing.WriteCache())["collection", code]
    keys = ("sort_title", "year_key", "rank")
    bulk.insert_rows(
        TitleFacet,
        ("facet_pk", "title_pk", *keys),
        [(facet, title.pk, *(getattr(title, key) for key in keys)) for title in rows],
    )
    bulk.insert_rows(
        CollectionItem,
        ("collection_pk", "position", "title_pk"),
        [(row.pk, position, title.pk) for position, title in enumerate(rows)],
    )
    writing.increment_catalog_version()
    return row.id


_TITLE_SORT_KEYS = sa.select(Title.pk, Title.id, Title.external_id, Title.sort_title, Title.year_key, Title.rank).where(
    Title.removed_at.is_(None)
)


def get_collection_definition(code: str) -> dict:
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


def delete_collection(code: str) -> None:
    """Drop a collection and the home rows that show it, in the caller's unit of work. Raises NotFound."""
    writing.lock_catalog()
    row = db.session.scalar(sa.select(Collection).where(Collection.code == code))
    if row is None:
        raise NotFound
    _delete_items(row)
    db.session.execute(sa.delete(HomeRow).where(HomeRow.kind == "collection", HomeRow.code == code))
    db.session.execute(sa.delete(Facet).where(Facet.kind == "collection", Facet.code == code))
    db.session.delete(row)
    writing.increment_catalog_version()


def _delete_items(row):
    facet = sa.select(Facet.pk).where(Facet.kind == "collection", Facet.code == row.code)
    db.session.execute(sa.delete(TitleFacet).where(TitleFacet.facet_pk.in_(facet)))
    db.session.execute(sa.delete(CollectionItem).where(CollectionItem.collection_pk == row.pk))
