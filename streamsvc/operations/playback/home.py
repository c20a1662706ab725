"""The home page: rows in the operator's order. What is watched fills the first ones, the catalogue the others."""

import msgspec
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Collection, HomeRow, Progress, Title, TitleCard
from streamsvc.models.catalog.visibility import VISIBLE
from streamsvc.operations.catalog.browse import collections, similar
from streamsvc.operations.catalog.reading import lists, version
from streamsvc.operations.catalog.reading.audience import Audience
from streamsvc.operations.catalog.reading.version import Known
from streamsvc.operations.catalog.titles import writing
from streamsvc.operations.catalog.titles.json_fragments import dumped, joined, json_list, json_page, member
from streamsvc.operations.playback import rows as own_rows
from streamsvc.rules.refusals.requests import Invalid
from streamsvc.security.authentication import asking_operator, viewer
from streamsvc.storage.database import all_rows, db, one_row

SHOWN = 24
PERSONAL = ("continue", "next_up", "because")
KINDS = (*PERSONAL, "collection", "new", "popular")
TITLES = {
    "continue": "Continue watching",
    "next_up": "Next up",
    "because": "Because you watched {}",
    "new": "New",
    "popular": "Popular",
}
SORTS = {"new": "-added", "popular": "-popularity"}
OWN = {"continue": (own_rows.CONTINUE, own_rows.watched_item), "next_up": (own_rows.NEXT_UP, own_rows.next_item)}
PUT = sa.select(HomeRow.id, HomeRow.kind, HomeRow.code, HomeRow.title, HomeRow.localizations).order_by(HomeRow.position)
LAST_WATCHED = (
    sa.select(Title.pk, TitleCard.body)
    .join(Progress, Progress.title_id == Title.id)
    .join(TitleCard, sa.and_(TitleCard.title_pk == Title.pk, TitleCard.locale == ""))
    .where(Progress.profile_id == sa.bindparam("profile_id"), Progress.watched_at.is_not(None), VISIBLE)
    .order_by(Progress.watched_at.desc(), Progress.item_id.desc())
    .limit(1)
)


class _Row(msgspec.Struct):
    """A row that nobody put: one for each kind, then every collection."""

    id: str
    kind: str
    code: str | None = None
    title: str = ""
    localizations: dict = {}


class _Page(msgspec.Struct):
    items: list[msgspec.Raw]


def rows() -> list:
    """The rows that the operator put, else the usual ones."""
    put = all_rows(PUT)
    if put:
        return put
    made = all_rows(
        sa.select(Collection.code, Collection.title, Collection.localizations).order_by(Collection.pk).limit(20)
    )
    usual = [_Row(f"row_{kind}", kind) for kind in ("continue", "next_up", "because", "popular", "new")]
    return usual + [_Row(f"row_{row.code}", "collection", row.code, row.title, row.localizations) for row in made]


def personal(audience: Audience) -> dict[str, tuple[str, list[str]]]:
    """What the viewer's own rows hold: kind → (title, items as JSON). Nothing where no profile watches."""
    profile = None if asking_operator() else viewer().profile
    if profile is None:
        return {}
    asked = {"cursor": None, "limit": SHOWN}
    found = {}
    for kind, (select, tell) in OWN.items():
        page = own_rows.page(select, kind, profile.profile_id, audience, asked, clock.now(), _flat(tell))
        found[kind] = (TITLES[kind], [bytes(item).decode() for item in msgspec.json.decode(page, type=_Page).items])
    seed = one_row(LAST_WATCHED, {**audience.parameters(), "profile_id": profile.profile_id})
    if seed:
        cards = [tuple(seed), *similar.to_title(seed.pk, audience)]
        watched, *alike = lists.told(cards, audience.language, version.known(version.moment()[0]))
        found["because"] = (TITLES["because"].format(msgspec.json.decode(watched)["title"]), alike)
    return found


def _flat(tell):
    """An item of the viewer's own rows as a card with more members, like the items of all other rows."""

    def flat(row, card):
        item = tell(row, card)
        return msgspec.Raw(joined(bytes(item.pop("title")).decode(), dumped(item)).encode())

    return flat


def page(own: dict[str, tuple[str, list[str]]], audience: Audience, known: Known) -> str:
    """The home page as JSON; rows without items are left out."""
    told = []
    for row in rows():
        title, items = own.get(row.kind, ("", [])) if row.kind in PERSONAL else _filled(row, audience, known)
        if items:
            named = collections.in_language(row, audience.language) or title
            told.append(
                joined(dumped({"id": row.id, "kind": row.kind, "title": named}), member("items", json_list(items)))
            )
    return json_page(told, None)


def _filled(row, audience, known):
    if row.kind == "collection":
        collection = collections.named(row.code)
        found = collections.items(collection.pk, audience, SHOWN)
        return collections.in_language(collection, audience.language), lists.told(found, audience.language, known)
    asked = {"sort": SORTS[row.kind], "cursor": None, "limit": SHOWN, "include_total": False, "locale": None}
    return TITLES[row.kind], lists.page(asked, audience, known)[0]


def put(given: list[dict]) -> None:
    """Make the home page's rows what is given, in the caller's unit of work. Raises Invalid."""
    writing.begin()
    known = set(db.session.scalars(sa.select(Collection.code)))
    for row in given:
        if row["kind"] == "collection" and row["collection"] not in known:
            raise Invalid(errors={"items": [f"There is no collection {row['collection']!r}."]})
    db.session.execute(sa.delete(HomeRow))
    for position, row in enumerate(given):
        made = HomeRow(position=position, kind=row["kind"], code=row["collection"], title=row["title"] or "")
        made.localizations = row["localizations"]
        db.session.add(made)
    writing.touch()


def kept() -> list[dict]:
    """The home page's rows as they were put; none where it shows the usual ones."""
    return [
        {"kind": row.kind, "collection": row.code, "title": row.title or None, "localizations": row.localizations}
        for row in db.session.execute(PUT)
    ]
