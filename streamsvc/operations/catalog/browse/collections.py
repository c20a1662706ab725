"""Collections: titles that an operator selects, in the operator's order."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Collection, CollectionItem, Facet, HomeRow, Title, TitleCard, TitleFacet
from streamsvc.models.catalog.facets import LINK_KEYS
from streamsvc.models.catalog.visibility import per_visibility
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.shown_cards import shown_cards
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.titles import bulk, search_index, writing
from streamsvc.operations.catalog.titles.json_fragments import encode_json, json_page, merge_json_objects
from streamsvc.rules.catalog.codes import language_fallbacks
from streamsvc.rules.catalog.inputs import CollectionInput, LocalizedPageInput
from streamsvc.rules.inputs import PageInput, ShortListInput
from streamsvc.rules.refusals.requests import Invalid, NotFound
from streamsvc.storage.database import db, fetch_all, fetch_existing, fetch_one

COLLECTION_COLUMNS = (Collection.pk, Collection.id, Collection.code, Collection.title, Collection.localizations)
COLLECTION_BY_ID_OR_CODE = sa.select(*COLLECTION_COLUMNS).where(
    sa.or_(Collection.id == sa.bindparam("id_or_code"), Collection.code == sa.bindparam("id_or_code"))
)


def _items_statement(visible: Any) -> sa.Select:
    return (
        sa.select(Title.pk, TitleCard.body, CollectionItem.position)
        .join(CollectionItem, CollectionItem.title_pk == Title.pk)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(
            CollectionItem.collection_pk == sa.bindparam("collection"),
            CollectionItem.position > sa.bindparam("after"),
            visible,
        )
        .order_by(CollectionItem.position)
        .limit(sa.bindparam("limit"))
    )


def _item_count_statement(visible: Any) -> sa.Select:
    items = sa.select(CollectionItem.position).join(Title, Title.pk == CollectionItem.title_pk)
    return pagination.bounded_count(items.where(CollectionItem.collection_pk == sa.bindparam("collection"), visible))


def _collections_statement(visible: Any) -> sa.Select:
    has_title = sa.exists().where(
        CollectionItem.collection_pk == Collection.pk, Title.pk == CollectionItem.title_pk, visible
    )
    return sa.select(*COLLECTION_COLUMNS).where(has_title.correlate(Collection))


COLLECTIONS = per_visibility(_collections_statement) | {"all": sa.select(*COLLECTION_COLUMNS)}
"""Those with a visible title; for operators, also those without any title."""
COLLECTION_ITEMS = per_visibility(_items_statement)
COLLECTION_ITEM_COUNT = per_visibility(_item_count_statement)


def get_collection(id_or_code: str) -> sa.Row:
    """Return the row of a collection. Raises NotFound."""
    row = fetch_one(COLLECTION_BY_ID_OR_CODE, {"id_or_code": id_or_code})
    if row is None:
        raise NotFound
    return row


def list_collection_items(collection_pk: int, audience: Audience, limit: int, after: int = -1) -> list[sa.Row]:
    """Return (key, card, position) of a collection's visible titles, in the operator's order."""
    parameters = {**audience.sql_parameters(), "collection": collection_pk, "after": after, "limit": limit}
    return fetch_all(COLLECTION_ITEMS[audience.visibility], parameters)


def collection_page_json(
    id_or_code: str, query: LocalizedPageInput, audience: Audience, snapshot: CatalogSnapshot
) -> str:
    """Return a collection with a page of its visible titles. Raises Invalid, and NotFound if there are none."""
    row = get_collection(id_or_code)
    language = query["locale"] or audience.language
    scope = f"collection:{row.id}"
    after = pagination.decode_cursor(scope, query["cursor"]) or [-1]
    items = list_collection_items(row.pk, audience, query["limit"] + 1, *after)
    if not items and query["cursor"] is None and not audience.sees_all:
        raise NotFound
    page = pagination.build_page(items, query["limit"], scope, lambda item: [item.position])
    total = None
    if query["include_total"]:
        parameters = {**audience.sql_parameters(), "collection": row.pk}
        total = pagination.total_members(fetch_existing(COLLECTION_ITEM_COUNT[audience.visibility], parameters)[0])
    return merge_json_objects(
        encode_json({"id": row.id, "code": row.code, "title": localized_title(row, language)}),
        json_page(shown_cards(page["items"], audience, snapshot, query["locale"]), page["next_cursor"], total),
    )


def collections_json(query: LocalizedPageInput, audience: Audience) -> str:
    """Return a page of the collections with at least one visible title."""
    language = query["locale"] or audience.language
    visible, parameters = COLLECTIONS[audience.visibility], audience.sql_parameters()
    [after] = pagination.decode_cursor("collections", query["cursor"]) or [0]
    select = visible.where(Collection.pk > sa.bindparam("after")).order_by(Collection.pk).limit(sa.bindparam("limit"))
    rows = fetch_all(select, {**parameters, "after": after, "limit": query["limit"] + 1})
    page = pagination.build_page(rows, query["limit"], "collections", lambda row: [row.pk])
    page["items"] = [{"id": row.id, "code": row.code, "title": localized_title(row, language)} for row in page["items"]]
    if query["include_total"]:
        page |= pagination.total_members(fetch_existing(pagination.bounded_count(visible), parameters)[0])
    return encode_json(page)


def localized_title(row: Any, language: str | None) -> str:
    """Return the title of a collection or a home row in the closest language available."""
    return next((row.localizations[tag] for tag in language_fallbacks(language) if tag in row.localizations), row.title)


def replace_collection(code: str, body: CollectionInput, now: datetime) -> str:
    """Create or replace a collection in the caller's transaction and return its id.

    `body` is a loaded CollectionIn. Raises Invalid for an unknown title.
    """
    writing.lock_catalog()
    titles_by_name = {
        name: row
        for row in bulk.select_rows_in(_TITLE_LINK_KEYS, Title.external_id, body["items"])
        for name in (row.external_id, row.id)
    }
    titles_by_name |= {row.id: row for row in bulk.select_rows_in(_TITLE_LINK_KEYS, Title.id, body["items"])}
    if unknown := [name for name in body["items"] if name not in titles_by_name]:
        raise Invalid(errors={"items": [f"There is no title {unknown[0]!r}."]})
    titles = list({titles_by_name[name].pk: titles_by_name[name] for name in body["items"]}.values())
    row = db.session.scalar(sa.select(Collection).where(Collection.code == code)) or Collection(code=code)
    row.title, row.localizations = body["title"], body["localizations"]
    db.session.add(row)
    db.session.flush()
    _delete_items(row)
    facet = writing.get_or_create_facets({("collection", code)}, writing.WriteCache())["collection", code]
    bulk.insert_rows(
        TitleFacet,
        ("facet_pk", "title_pk", *LINK_KEYS),
        [(facet, title.pk, *(getattr(title, key) for key in LINK_KEYS)) for title in titles],
    )
    bulk.insert_rows(
        CollectionItem,
        ("collection_pk", "position", "title_pk"),
        [(row.pk, position, title.pk) for position, title in enumerate(titles)],
    )
    search_index.replace_collection(row)
    writing.increment_catalog_version()
    return row.id


_TITLE_LINK_KEYS = sa.select(Title.pk, Title.id, Title.external_id, *(getattr(Title, key) for key in LINK_KEYS)).where(
    Title.removed_at.is_(None)
)


def get_collection_definition(code: str) -> dict:
    """Return a collection as its operator defined it, with its id; titles by external id. Raises NotFound."""
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


def list_defined_collections(query: PageInput) -> dict:
    """List all collections, by code, also those without a title that anybody may watch."""
    return pagination.paginate_query(sa.select(Collection), Collection.code, query, "defined collections", False)


def list_defined_titles(code: str, query: ShortListInput) -> dict:
    """List the titles of a collection in its order, whether or not anybody may watch them. Raises NotFound."""
    collection_pk = db.session.scalar(sa.select(Collection.pk).where(Collection.code == code))
    if collection_pk is None:
        raise NotFound
    titles = (
        sa.select(Title.external_id, Title.title, Title.year, CollectionItem.position)
        .join(CollectionItem, CollectionItem.title_pk == Title.pk)
        .where(CollectionItem.collection_pk == collection_pk, Title.removed_at.is_(None))
        .order_by(CollectionItem.position)
    )
    rows = db.session.execute(titles).all()
    return pagination.paginate_list(rows, query, f"titles of {code}", lambda row: [row.position])


def delete_collection(code: str) -> None:
    """Delete a collection and the home rows that show it, in the caller's transaction. Raises NotFound."""
    writing.lock_catalog()
    row = db.session.scalar(sa.select(Collection).where(Collection.code == code))
    if row is None:
        raise NotFound
    _delete_items(row)
    db.session.execute(sa.delete(HomeRow).where(HomeRow.kind == "collection", HomeRow.code == code))
    db.session.execute(sa.delete(Facet).where(Facet.kind == "collection", Facet.code == code))
    search_index.delete_collection(row)
    db.session.delete(row)
    writing.increment_catalog_version()


def _delete_items(row: Collection) -> None:
    facet = sa.select(Facet.pk).where(Facet.kind == "collection", Facet.code == row.code)
    db.session.execute(sa.delete(TitleFacet).where(TitleFacet.facet_pk.in_(facet)))
    db.session.execute(sa.delete(CollectionItem).where(CollectionItem.collection_pk == row.pk))
