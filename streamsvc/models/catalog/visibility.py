"""What a viewer may see, in SQL: `is_listed` of rules/playback/access.py, with the viewer's facts as parameters.

max_age   the profile's limit, or NO_AGE_LIMIT
country   the viewer's country, "" if unknown
plans     the viewer's plans by `encode_plans`; None without a subscription, which makes any plan sufficient
now       the current time

and for a profile with title rules, each a text by `encode_codes`:

blocked_titles, blocked_genres, allowed_titles, allowed_genres; the allowed ones None if every title is allowed
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import sqlalchemy as sa

from streamsvc.models.catalog.facets import Facet, TitleFacet
from streamsvc.models.catalog.titles import Title, TitlePlan, TitleWindow
from streamsvc.rules.maturity import ADULT_AGE, UNRATED_AGE_GATE
from streamsvc.storage.database import UtcTime

Statement = TypeVar("Statement")
NO_AGE_LIMIT = 10_000
EVERYWHERE = "*"

_now = sa.bindparam("now", type_=UtcTime())
_plans = sa.bindparam("plans", type_=sa.Text())

IN_WINDOW = sa.exists().where(
    TitleWindow.title_pk == Title.pk,
    TitleWindow.country.in_([EVERYWHERE, sa.bindparam("country", type_=sa.String())]),
    sa.or_(TitleWindow.starts_at.is_(None), TitleWindow.starts_at <= _now),
    sa.or_(TitleWindow.ends_at.is_(None), TitleWindow.ends_at > _now),
)
# One parameter for any number of plans, so that the statement is compiled once: a code is among them if taking it out
# changes the text. A record may name any text as a plan, so its own spaces must not match those between codes.
_entry = sa.literal(" ") + sa.func.replace(TitlePlan.plan_code, " ", "?") + sa.literal(" ")
_is_held = sa.func.replace(_plans, _entry, "") != _plans
IN_PLAN = sa.exists().where(TitlePlan.title_pk == Title.pk, sa.or_(_plans.is_(None), _is_held))
VISIBLE = sa.and_(
    Title.removed_at.is_(None),
    Title.age_gate <= sa.bindparam("max_age", type_=sa.Integer()),
    sa.or_(Title.windowed.is_(False), IN_WINDOW),
    sa.or_(Title.plan_limited.is_(False), IN_PLAN),
)
IN_CATALOG = Title.removed_at.is_(None)
"""What an operator may see: every title that is not removed."""


def _is_in(codes: sa.BindParameter[str], column: Any) -> sa.ColumnElement[bool]:
    return sa.func.replace(codes, sa.literal(" ") + column + sa.literal(" "), "") != codes


def _is_in_set(name: str) -> sa.ColumnElement[bool]:
    titles, genres = (sa.bindparam(f"{name}_{kind}", type_=sa.Text()) for kind in ("titles", "genres"))
    has_genre = sa.exists().where(
        TitleFacet.title_pk == Title.pk,
        Facet.pk == TitleFacet.facet_pk,
        Facet.kind == "genre",
        _is_in(genres, Facet.code),
    )
    return sa.or_(_is_in(titles, Title.id), sa.and_(genres != "", has_genre))


BY_TITLE_RULES = sa.and_(
    sa.not_(_is_in_set("blocked")),
    sa.or_(sa.bindparam("allowed_titles", type_=sa.Text()).is_(None), _is_in_set("allowed")),
)
"""`TitleRules.allow` of rules/playback/restrictions.py."""
FOR_VISITORS = sa.or_(
    Title.age_gate < sa.literal_column(str(ADULT_AGE)), Title.age_gate == sa.literal_column(str(UNRATED_AGE_GATE))
)
Visibility = Literal["all", "listed", "restricted", "public"]
"""Who reads: an operator, a viewer, a viewer whose profile has title rules, or a visitor without a token."""
CONDITIONS: dict[Visibility, sa.ColumnElement[bool]] = {
    "all": IN_CATALOG,
    "listed": VISIBLE,
    "restricted": sa.and_(VISIBLE, BY_TITLE_RULES),
    "public": sa.and_(VISIBLE, FOR_VISITORS),
}


def per_visibility(build: Callable[[Any], Statement]) -> dict[Visibility, Statement]:
    """Return the statement that `build` makes of each of CONDITIONS.

    Only profiles with title rules pay for the test of them.
    """
    return {visibility: build(condition) for visibility, condition in CONDITIONS.items()}


def encode_codes(codes: Iterable[str]) -> str:
    """Return the value of a parameter that holds codes: each between two spaces, which no code contains."""
    return "".join(f" {code} " for code in codes)
