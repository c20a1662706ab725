"""The home page: rows in the operator's order, filled from what the profile watches and from the catalogue."""

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Collection, HomeRow, PartWindow, Progress, Title, TitleCard
from streamsvc.models.catalog.visibility import per_visibility
from streamsvc.operations.catalog.browse import collections, similar
from streamsvc.operations.catalog.reading import lists, version
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.shown_cards import shown_cards
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
from streamsvc.operations.playback.next_up import NEXT_UP
from streamsvc.operations.playback.row_statements import CONTINUE_WATCHING, PROFILE_ID, SINCE
from streamsvc.rules.catalog.inputs import TitlesInput
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.storage.compiled_statements import CompiledStatement
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
PERSONAL_ROW_QUERIES: dict[str, tuple[dict, Callable[..., dict]]] = {
    "continue": (CONTINUE_WATCHING, own_rows.watched_item_view),
    "next_up": (NEXT_UP, own_rows.next_item_view),
}
CONFIGURED_ROWS = sa.select(HomeRow.id, HomeRow.kind, HomeRow.code, HomeRow.title, HomeRow.localizations).order_by(
    HomeRow.position
)
LAST_WATCHED = per_visibility(
    lambda visible: (
        sa.select(Title.pk, TitleCard.body)
        .join(Progress, Progress.title_id == Title.id)
        .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
        .where(Progress.profile_id == sa.bindparam("profile_id"), Progress.watched_at.is_not(None), visible)
        .order_by(Progress.watched_at.desc(), Progress.item_id.desc())
        .limit(1)
    )
)


@cache
def _progress_version_statement(dialect: str) -> CompiledStatement:
    """Build the statement that reads what a profile's own rows depend on: its progress, and what is too long ago.

    The progress is read as one text, many times faster than as rows.
    """
    empty, space, comma = (sa.literal_column(f"'{text}'", sa.Text) for text in ("", " ", ","))
    row: sa.ColumnElement[str] = empty
    for column in Progress.__table__.c:
        row = row + space + sa.func.coalesce(sa.cast(column, sa.Text), empty)
    is_recent = sa.case((Progress.at > SINCE, "1"), else_="0") + sa.case((Progress.watched_at > SINCE, "1"), else_="0")
    of_profile = sa.select((row + space + is_recent).label("text")).where(Progress.profile_id == PROFILE_ID)
    rows = of_profile.order_by(Progress.item_id).subquery()
    join = sa.func.group_concat if dialect == "sqlite" else sa.func.string_agg
    opened_long_ago = sa.select(sa.func.max(PartWindow.starts_at)).where(PartWindow.starts_at <= SINCE)
    return CompiledStatement(
        sa.select(join(rows.c.text, comma).label("progress"), opened_long_ago.scalar_subquery().label("opened"))
    )


class _DefaultRow(msgspec.Struct):
    """A row of the default home page: one per kind, then one per collection."""

    id: str
    kind: str
    code: str | None = None
    title: str = ""
    localizations: dict = {}


class _ItemPage(msgspec.Struct):
    items: list[msgspec.Raw]


def list_home_rows() -> list:
    """Return the rows that the operator configured, else the default rows."""
    configured = fetch_all(CONFIGURED_ROWS)
    if configured:
        return configured
    collections = fetch_all(
        sa.select(Collection.code, Collection.title, Collection.localizations).order_by(Collection.pk).limit(20)
    )
    rows = [_DefaultRow(f"row_{kind}", kind) for kind in ("continue", "next_up", "because", "popular", "new")]
    return rows + [
        _DefaultRow(f"row_{row.code}", "collection", row.code, row.title, row.localizations) for row in collections
    ]


def personal_version(profile: sa.Row | None) -> tuple:
    """Return what the profile's own rows depend on besides the catalogue's version and the audience.

    The day is that on which episodes are released.
    """
    if profile is None:
        return ()
    now = clock.now()
    statement = _progress_version_statement(db.engine.dialect.name)
    return now.date(), *statement.all(profile_id=profile.profile_id, since=own_rows.shown_since(now))[0]


def load_personal_rows(profile: sa.Row | None, audience: Audience) -> dict[str, tuple[str, list[str]]]:
    """Return the profile's own rows by kind: (title, items as JSON). Empty without a profile."""
    if profile is None:
        return {}
    query: PageInput = {"limit": ITEMS_PER_ROW, "cursor": None, "include_total": False}
    rows = {}
    for kind, (statements, item_view) in PERSONAL_ROW_QUERIES.items():
        page = own_rows.profile_row_json(
            statements, kind, profile.profile_id, audience, query, clock.now(), _flat_item_view(item_view)
        )
        rows[kind] = (
            DEFAULT_ROW_TITLES[kind],
            [bytes(item).decode() for item in msgspec.json.decode(page, type=_ItemPage).items],
        )
    seed = fetch_one(LAST_WATCHED[audience.visibility], {**audience.sql_parameters(), "profile_id": profile.profile_id})
    if seed:
        cards = [tuple(seed), *similar.list_similar_cards(seed.pk, audience)]
        watched, *similar_cards = shown_cards(cards, audience, version.load_snapshot(version.current_catalog_version()))
        rows["because"] = (DEFAULT_ROW_TITLES["because"].format(msgspec.json.decode(watched)["title"]), similar_cards)
    return rows


def _flat_item_view(item_view: Callable[..., dict]) -> Callable[..., msgspec.Raw]:
    """Return an item view with the members of the title's card at its top level, as in all other rows."""

    def flat_view(row: Any, card: Any, language: str | None) -> msgspec.Raw:
        item = item_view(row, card, language)
        return msgspec.Raw(merge_json_objects(bytes(item.pop("title")).decode(), encode_json(item)).encode())

    return flat_view


def home_json(personal_rows: dict[str, tuple[str, list[str]]], audience: Audience, snapshot: CatalogSnapshot) -> str:
    """Return the home page as JSON, without empty rows."""
    rows = []
    for row in list_home_rows():
        title, items = (
            personal_rows.get(row.kind, ("", []))
            if row.kind in PERSONAL_ROW_KINDS
            else _catalog_row(row, audience, snapshot)
        )
        if items:
            row_title = collections.localized_title(row, audience.language) or title
            rows.append(
                merge_json_objects(
                    encode_json({"id": row.id, "kind": row.kind, "title": row_title}),
                    json_member("items", json_list(items)),
                )
            )
    return json_page(rows, None)


def _catalog_row(row: Any, audience: Audience, snapshot: CatalogSnapshot) -> tuple[str, list[str]]:
    """Return the default title and the items of a row that the catalogue fills."""
    if row.kind == "collection":
        collection = collections.get_collection(row.code)
        items = collections.list_collection_items(collection.pk, audience, ITEMS_PER_ROW)
        return collections.localized_title(collection, audience.language), shown_cards(items, audience, snapshot)
    query: TitlesInput = {
        "limit": ITEMS_PER_ROW,
        "cursor": None,
        "include_total": False,
        "kind": None,
        "genre": None,
        "tag": None,
        "studio": None,
        "language": None,
        "country": None,
        "origin_country": None,
        "person": None,
        "collection": None,
        "ids": None,
        "sort": ROW_SORTS[row.kind],
        "locale": None,
        "year_gte": None,
        "year_lte": None,
        "runtime_lte": None,
        "age_lte": None,
        "selected": None,
    }
    return DEFAULT_ROW_TITLES[row.kind], lists.list_title_cards(query, audience, snapshot)[0]


def replace_home_rows(rows: list[dict]) -> None:
    """Replace the rows of the home page, in the caller's transaction; none restores the defaults. Raises Invalid."""
    writing.lock_catalog()
    codes = set(db.session.scalars(sa.select(Collection.code)))
    for row in rows:
        if row["kind"] == "collection" and row["collection"] not in codes:
            raise Invalid(errors={"items": [f"There is no collection {row['collection']!r}."]})
    db.session.execute(sa.delete(HomeRow))
    for position, row in enumerate(rows):
        home_row = HomeRow(position=position, kind=row["kind"], code=row["collection"], title=row["title"] or "")
        home_row.localizations = row["localizations"]
        db.session.add(home_row)
    writing.increment_catalog_version()


def list_configured_rows() -> list[dict]:
    """Return the rows as the operator configured them; empty if the home page has the default rows."""
    return [
        {"kind": row.kind, "collection": row.code, "title": row.title or None, "localizations": row.localizations}
        for row in db.session.execute(CONFIGURED_ROWS)
    ]
