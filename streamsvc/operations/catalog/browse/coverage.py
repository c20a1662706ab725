"""Catalogue coverage: titles without a rating, without an open or upcoming window, without artwork, …

Some issues are those of single episodes and extras, each of which counts and is listed with its title.
"""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Episode, Extra, Facet, MediaFile, PartWindow, Title, TitleFacet, TitleWindow
from streamsvc.models.catalog.visibility import EVERYWHERE, age_gate_in, is_of_episode
from streamsvc.operations.catalog.titles.media_files import shares_folder, shares_manifest
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.maturity import UNRATED_AGE_GATE
from streamsvc.storage.database import UtcTime, fetch_all, fetch_existing

ENDING_SOON_WITHIN = timedelta(days=14)
MAX_EXAMPLES = 5
MAX_YEAR_DIFFERENCE = 1
_now, _soon = sa.bindparam("now", type_=UtcTime()), sa.bindparam("soon", type_=UtcTime())


def _has_window(*conditions: Any) -> sa.Exists:
    return sa.exists().where(TitleWindow.title_pk == Title.pk, *conditions)


def _ends_after(window: type[TitleWindow] | type[PartWindow], moment: Any) -> sa.ColumnElement[bool]:
    return sa.or_(window.ends_at.is_(None), window.ends_at > moment)


_not_ended, _not_ending_soon = _ends_after(TitleWindow, _now), _ends_after(TitleWindow, _soon)
_is_unrated_where_available = sa.or_(
    sa.not_(Title.rated_per_country),
    sa.not_(Title.windowed),
    _has_window(sa.or_(TitleWindow.country == EVERYWHERE, age_gate_in(TitleWindow.country) == UNRATED_AGE_GATE)),
)
_has_language = sa.exists().where(
    TitleFacet.title_pk == Title.pk, Facet.pk == TitleFacet.facet_pk, Facet.kind == "language"
)
_other_title = sa.alias(Title.__table__)
_has_near_duplicate = sa.exists().where(
    _other_title.c.sort_title == Title.sort_title,
    _other_title.c.pk != Title.pk,
    _other_title.c.kind == Title.kind,
    _other_title.c.removed_at.is_(None),
    _other_title.c.year_key.between(Title.year_key - MAX_YEAR_DIFFERENCE, Title.year_key + MAX_YEAR_DIFFERENCE),
)
ISSUES = {
    "no_rating": sa.and_(Title.age_gate == UNRATED_AGE_GATE, _is_unrated_where_available),
    "no_window": sa.and_(Title.windowed, sa.not_(_has_window(_not_ended))),
    "no_artwork": sa.not_(Title.has_artwork),
    "no_language": sa.not_(_has_language),
    "ending_soon": sa.and_(Title.windowed, _has_window(_not_ended), sa.not_(_has_window(_not_ending_soon))),
    "near_duplicate": _has_near_duplicate,
    "shared_media_folder": sa.exists().where(MediaFile.title_pk == Title.pk, shares_folder()),
}
"""The condition of each issue. A title counts as unrated also if it has ratings of other countries only than those of
its windows. Near duplicates have the same name and kind, and years at most one apart. A manifest in a folder with
another item's opens only the files that are named after it."""


def _has_own_window(*conditions: Any) -> sa.Exists:
    return sa.exists().where(is_of_episode(PartWindow, Episode), *conditions)


_has_media = sa.exists().where(MediaFile.title_pk == Title.pk)
_will_play = sa.or_(Episode.windowed.is_(False), _has_own_window(_ends_after(PartWindow, _now)))
_is_released = sa.or_(Episode.released_on.is_(None), Episode.released_on <= sa.bindparam("today", type_=sa.Date))
EPISODE_ISSUES = {
    "episode_no_media": sa.and_(Episode.media.is_(None), _is_released, _will_play, _has_media),
    "episode_no_window": sa.and_(Episode.windowed, sa.not_(_has_own_window(_ends_after(PartWindow, _now)))),
    "episode_ending_soon": sa.and_(
        Episode.windowed,
        _has_own_window(_ends_after(PartWindow, _now)),
        sa.not_(_has_own_window(_ends_after(PartWindow, _soon))),
    ),
}
EXTRA_ISSUES = {
    "extra_no_media": sa.and_(Extra.media.is_(None), _has_media),
    "extra_media_shared": shares_manifest().element,
}
"""Without media where the title, or another part of it, has some; if none has, STREAMSVC_MEDIA_URL says where it is.
An extra with the manifest of a film, an episode or a channel does not play."""
_TITLE = (Title.id, Title.external_id, Title.title, Title.year)
_PARTS: dict[Any, tuple] = {
    Episode: (Episode.id.label("part_id"), Episode.season, Episode.number, Episode.title.label("part_title")),
    Extra: (
        Extra.id.label("part_id"),
        sa.null().label("season"),
        sa.null().label("number"),
        Extra.title.label("part_title"),
    ),
}


def _issue_statements(model: Any, condition: Any) -> tuple[sa.Select, sa.Select]:
    """Return the statements of the count and of a page of titles, episodes or extras with an issue."""
    columns = (model.pk, *_TITLE, *_PARTS.get(model, (sa.null().label("part_id"),)))
    count, page = sa.select(sa.func.count()).select_from(model), sa.select(*columns).select_from(model)
    if model is not Title:
        count, page = (select.join(Title, Title.pk == model.title_pk) for select in (count, page))
        condition = sa.and_(model.removed_at.is_(None), condition)
    page = page.where(Title.removed_at.is_(None), condition, model.pk > sa.bindparam("after"))
    return count.where(Title.removed_at.is_(None), condition), page.order_by(model.pk).limit(sa.bindparam("limit"))


STATEMENTS = {
    code: _issue_statements(model, condition)
    for model, issues in ((Title, ISSUES), (Episode, EPISODE_ISSUES), (Extra, EXTRA_ISSUES))
    for code, condition in issues.items()
}
TITLE_COUNT = sa.select(sa.func.count()).where(Title.removed_at.is_(None))


def coverage_report(now: datetime) -> dict:
    """Return {total, issues: [{code, count, items: the first five titles, episodes or extras}]}."""
    times = _times(now)
    issues = [
        {
            "code": code,
            "count": fetch_existing(count, times)[0],
            "items": list(map(_item_view, fetch_all(page, {**times, "after": 0, "limit": MAX_EXAMPLES}))),
        }
        for code, (count, page) in STATEMENTS.items()
    ]
    return {"total": fetch_existing(TITLE_COUNT)[0], "issues": issues}


def list_titles_with_issue(code: str, query: PageInput, now: datetime) -> dict:
    """Return a page of the titles, episodes or extras with one issue. Raises Invalid for a bad cursor."""
    scope, (count, statement) = f"coverage:{code}", STATEMENTS[code]
    after = pagination.decode_cursor(scope, query["cursor"]) or [0]
    times = _times(now)
    rows = fetch_all(statement, {**times, "after": after[0], "limit": query["limit"] + 1})
    page = pagination.build_page(rows, query["limit"], scope, lambda row: [row.pk])
    page["items"] = list(map(_item_view, page["items"]))
    return page | (pagination.total_members(fetch_existing(count, times)[0]) if query["include_total"] else {})


def _times(now: datetime) -> dict[str, Any]:
    return {"now": now, "soon": now + ENDING_SOON_WITHIN, "today": now.date()}


def _item_view(row: Any) -> dict[str, Any]:
    """Return a title with an issue; `part` is its episode or extra that has it."""
    view = {name: getattr(row, name) for name in ("id", "external_id", "title", "year")}
    part = row.part_id and {
        "id": row.part_id,
        "season": row.season,
        "number": row.number,
        "title": row.part_title,
    }
    return view | {"part": part}
