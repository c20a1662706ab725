"""What the catalogue lacks: titles without a rating, without a window that is open or will be, without artwork, …"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from streamsvc.http import pagination
from streamsvc.models import Facet, Title, TitleFacet, TitleWindow
from streamsvc.storage.database import UtcTime, all_rows, one_row

SOON = timedelta(days=14)
SHOWN = 5
NEAR_YEARS = 1
_now, _soon = sa.bindparam("now", type_=UtcTime()), sa.bindparam("soon", type_=UtcTime())


def _window(*conditions):
    return sa.exists().where(TitleWindow.title_pk == Title.pk, *conditions)


_ends_later = sa.or_(TitleWindow.ends_at.is_(None), TitleWindow.ends_at > _now)
_ends_much_later = sa.or_(TitleWindow.ends_at.is_(None), TitleWindow.ends_at > _soon)
_has_language = sa.exists().where(
    TitleFacet.title_pk == Title.pk, Facet.pk == TitleFacet.facet_pk, Facet.kind == "language"
)
_other = sa.alias(Title.__table__)
_near = sa.exists().where(
    _other.c.sort_title == Title.sort_title,
    _other.c.pk != Title.pk,
    _other.c.kind == Title.kind,
    _other.c.removed_at.is_(None),
    _other.c.year_key.between(Title.year_key - NEAR_YEARS, Title.year_key + NEAR_YEARS),
)
LACKS = {
    "no_rating": Title.min_age.is_(None),
    "no_window": sa.and_(Title.windowed, sa.not_(_window(_ends_later))),
    "no_artwork": sa.not_(Title.has_artwork),
    "no_language": sa.not_(_has_language),
    "ending_soon": sa.and_(Title.windowed, _window(_ends_later), sa.not_(_window(_ends_much_later))),
    "near_duplicate": _near,
}
"""What may be wrong with a title, as conditions. Near duplicates: one name, one kind, years at most one apart."""


def _count(lack):
    return sa.select(sa.func.count()).where(Title.removed_at.is_(None), lack)


def _page(lack):
    return (
        sa.select(Title.pk, Title.id, Title.external_id, Title.title, Title.year)
        .where(Title.removed_at.is_(None), lack, Title.pk > sa.bindparam("after"))
        .order_by(Title.pk)
        .limit(sa.bindparam("limit"))
    )


COUNTS = {name: _count(lack) for name, lack in LACKS.items()}
PAGES = {name: _page(lack) for name, lack in LACKS.items()}
TOTAL = _count(sa.true())


def report(now: datetime) -> dict:
    """{total, issues: [{code, count, items: the first five}]}"""
    times = {"now": now, "soon": now + SOON}
    issues = [
        {
            "code": name,
            "count": one_row(COUNTS[name], times)[0],
            "items": all_rows(PAGES[name], {**times, "after": 0, "limit": SHOWN}),
        }
        for name in LACKS
    ]
    return {"total": one_row(TOTAL)[0], "issues": issues}


def page(code: str, asked: dict, now: datetime) -> dict:
    """A page of the titles that lack one thing."""
    scope = f"coverage:{code}"
    after = pagination.decode(scope, asked["cursor"]) or [0]
    times = {"now": now, "soon": now + SOON}
    rows = all_rows(PAGES[code], {**times, "after": after[0], "limit": asked["limit"] + 1})
    shown = pagination.page(rows, asked["limit"], scope, lambda row: [row.pk])
    return shown | ({"total": one_row(COUNTS[code], times)[0]} if asked["include_total"] else {})
