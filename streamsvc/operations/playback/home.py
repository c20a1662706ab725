"""The home page: rows in the operator's order. What is watched fills the first ones, the catalogue the others."""

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Collection, HomeRow, Progress, Title, TitleCard
from streamsvc.models.catalog.visibility import VISIBLE
from streamsvc.operations.catalog.browse import collections, similar
from streamsvc.operations.catalog.reading import lists, version
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.version import CatalogSnapshot
from streamsvc.operations.catalog.titles import writing
from streamsvc.operations.catalog.titles.json_fragments import (
    encode_json,
    json_list,
    json_member,
    json_page,
    merge_json_objects,
)
from streamsvc.operations.playback import rows as own_rows
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.security.authentication import current_operator, current_viewer
from streamsvc.storage.database import db, fetch_all, fetch_one

ITEMS_PER_ROW = 24
PERSONAL_ROW_KINDS = ("continue", "next_up", "because")
ROW_KINDS = (*PERSONAL_ROW_KINDS, "collection", "new", "popular")
DEFAULT_ROW_TITLES = {
    "continue": "Continue watching",
    "next_up": "Next up",
    "because": "Because you watched {}",
    "new": "New",
    "popular": "Popular",
}
ROW_SORTS = {"new": "-added", "popular": "-popularity"}
PERSONAL_ROW_QUERIES = {
    "continue": (own_rows.CONTINUE_WATCHING, own_rows.watched_item_view),
    "next_up": (own_rows.NEXT_UP, own_rows.next_item_view),
}
CONFIGURED_ROWS = sa.select(HomeRow.id, HomeRow.kind, HomeRow.code, HomeRow.title, HomeRow.localizations).order_by(
    HomeRow.position
)
LAST_WATCHED = (
    sa.select(Title.pk, TitleCard.body)
    .join(Progress, Progress.title_id == Title.id)
    .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
    .where(Progress.profile_id == sa.bindparam("profile_id"), Progress.watched_at.is_not(None), VISIBLE)
    .order_by(Progress.watched_at.desc(), Progress.item_id.desc())
    .limit(1)
)


class _DefaultRow(msgspec.Struct):
    """A row that nobody put: one for each kind, then every collection."""

    id: str
    kind: str
    code: str | None = None
    title: str = ""
    localizations: dict = {}


class _ItemPage(msgspec.Struct):
    items: list[msgspec.Raw]


def list_home_rows() -> list:
    """The rows that the operator put, else the usual ones."""
    put = fetch_all(CONFIGURED_ROWS)
    if put:
        return put
    made = fetch_all(
        sa.select(Collection.code, Collection.title, Collection.localizations).order_by(Collection.pk).limit(20)
    )
    usual = [_DefaultRow(f"row_{kind}", kind) for kind in ("continue", "next_up", "because", "popular", "new")]
    return usual + [
        _DefaultRow(f"row_{row.code}", "collection", row.code, row.title, row.localizations) for row in made
    ]


def load_personal_rows(audience: Audience) -> dict[str, tuple[str, list[str]]]:
    """What the viewer's own rows hold: kind → (title, items as JSON). Nothing where no profile watches."""
    profile = None if current_operator() else current_viewer().profile
    if profile is None:
        return {}
    asked = {"cursor": None, "limit": ITEMS_PER_ROW}
    found = {}
    for kind, (select, tell) in PERSONAL_ROW_QUERIES.items():
        page = own_rows.profile_row_json(
            select, kind, profile.profile_id, audience, asked, clock.now(), _flat_item_view(tell)
        )
        found[kind] = (
            DEFAULT_ROW_TITLES[kind],
            [bytes(item).decode() for item in msgspec.json.decode(page, type=_ItemPage).items],
        )
    seed = fetch_one(LAST_WATCHED, {**audience.sql_parameters(), "profile_id": profile.profile_id})
    if seed:
        cards = [tuple(seed), *similar.list_similar_cards(seed.pk, audience)]
        watched, *alike = lists.localized_cards(
            cards, audience.language, version.load_snapshot(version.current_catalog_version()[0])
        )
        found["because"] = (DEFAULT_ROW_TITLES["because"].format(msgspec.json.decode(watched)["title"]), alike)
    return found


def _flat_item_view(tell):
    """An item of the viewer's own rows as a card with more members, like the items of all other rows."""

    def flat(row, card):
        item = tell(row, card)
        return msgspec.Raw(merge_json_objects(bytes(item.pop("title")).decode(), encode_json(item)).encode())

    return flat


def home_json(personal_rows: dict[str, tuple[str, list[str]]], audience: Audience, snapshot: CatalogSnapshot) -> str:
    """The home page as JSON; rows without items are left out."""
    told = []
    for row in list_home_rows():
        title, items = (
            personal_rows.get(row.kind, ("", []))
            if row.kind in PERSONAL_ROW_KINDS
            else _catalog_row(row, audience, snapshot)
        )
        if items:
            named = collections.localized_title(row, audience.language) or title
            told.append(
                merge_json_objects(
                    encode_json({"id": row.id, "kind": row.kind, "title": named}),
                    json_member("items", json_list(items)),
                )
            )
    return json_page(told, None)


def _catalog_row(row, audience, known):
    if row.kind == "collection":
        collection = collections.get_collection(row.code)
        found = collections.list_collection_items(collection.pk, audience, ITEMS_PER_ROW)
        return collections.localized_title(collection, audience.language), lists.localized_cards(
            found, audience.language, known
        )
    asked = {
        "sort": ROW_SORTS[row.kind],
        "cursor": None,
        "limit": ITEMS_PER_ROW,
        "include_total": False,
        "locale": None,
    }
    return DEFAULT_ROW_TITLES[row.kind], lists.list_title_cards(asked, audience, known)[0]


def replace_home_rows(rows: list[dict]) -> None:
    """Make the home page's rows what is given, in the caller's unit of work. Raises Invalid."""
    writing.lock_catalog()
    known = set(db.session.scalars(sa.select(Collection.code)))
    for row in rows:
        if row["kind"] == "collection" and row["collection"] not in known:
            raise Invalid(errors={"items": [f"There is no collection {row['collection']!r}."]})
    db.session.execute(sa.delete(HomeRow))
    for position, row in enumerate(rows):
        made = HomeRow(position=position, kind=row["kind"], code=row["collection"], title=row["title"] or "")
        made.localizations = row["localizations"]
        db.session.add(made)
    writing.increment_catalog_version()


def list_configured_rows() -> list[dict]:
    """The home page's rows as they were put; none where it shows the usual ones."""
    return [
        {"kind": row.kind, "collection": row.code, "title": row.title or None, "localizations": row.localizations}
        for row in db.session.execute(CONFIGURED_ROWS)
    ]
