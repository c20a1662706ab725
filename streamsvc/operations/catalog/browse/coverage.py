"""Catalogue coverage: titles without a rating, without an open or upcoming window, without artwork, …"""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Facet, MediaFile, Title, TitleFacet, TitleWindow
from streamsvc.models.catalog.visibility import EVERYWHERE, age_gate_in
from streamsvc.operations.catalog.titles.media_files import shares_folder
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.maturity import UNRATED_AGE_GATE
from streamsvc.storage.database import UtcTime, fetch_all, fetch_existing

ENDING_SOON_WITHIN = timedelta(days=14)
MAX_EXAMPLES = 5
MAX_YEAR_DIFFERENCE = 1
_now, _soon = sa.bindparam("now", type_=UtcTime()), sa.bindparam("soon", type_=UtcTime())


def _has_window(*conditions: Any) -> sa.Exists:
    return sa.exists().where(TitleWindow.title_pk == Title.pk, *conditions)


_not_ended = sa.or_(TitleWindow.ends_at.is_(None), TitleWindow.ends_at > _now)
_not_ending_soon = sa.or_(TitleWindow.ends_at.is_(None), TitleWindow.ends_at > _soon)
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


def _issue_count_statement(condition: Any) -> sa.Select:
    return sa.select(sa.func.count()).where(Title.removed_at.is_(None), condition)


def _issue_page_statement(condition: Any) -> sa.Select:
    return (
        sa.select(Title.pk, Title.id, Title.external_id, Title.title, Title.year)
        .where(Title.removed_at.is_(None), condition, Title.pk > sa.bindparam("after"))
        .order_by(Title.pk)
        .limit(sa.bindparam("limit"))
    )


ISSUE_COUNTS = {code: _issue_count_statement(condition) for code, condition in ISSUES.items()}
ISSUE_PAGES = {code: _issue_page_statement(condition) for code, condition in ISSUES.items()}
TITLE_COUNT = _issue_count_statement(sa.true())


def coverage_report(now: datetime) -> dict:
    """Return {total, issues: [{code, count, items: the first five titles}]}."""
    times = {"now": now, "soon": now + ENDING_SOON_WITHIN}
    issues = [
        {
            "code": code,
            "count": fetch_existing(ISSUE_COUNTS[code], times)[0],
            "items": fetch_all(ISSUE_PAGES[code], {**times, "after": 0, "limit": MAX_EXAMPLES}),
        }
        for code in ISSUES
    ]
    return {"total": fetch_existing(TITLE_COUNT)[0], "issues": issues}


def list_titles_with_issue(code: str, query: PageInput, now: datetime) -> dict:
    """Return a page of the titles with one issue. Raises Invalid for a bad cursor."""
    scope = f"coverage:{code}"
    after = pagination.decode_cursor(scope, query["cursor"]) or [0]
    times = {"now": now, "soon": now + ENDING_SOON_WITHIN}
    rows = fetch_all(ISSUE_PAGES[code], {**times, "after": after[0], "limit": query["limit"] + 1})
    page = pagination.build_page(rows, query["limit"], scope, lambda row: [row.pk])
    return page | ({"total": fetch_existing(ISSUE_COUNTS[code], times)[0]} if query["include_total"] else {})
