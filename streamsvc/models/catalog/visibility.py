"""What a viewer may see, in SQL: `is_listed` of rules/playback/access.py, with the viewer's facts as parameters.

max_age   the profile's limit, or NO_AGE_LIMIT
country   the viewer's country, "" if unknown
plans     the viewer's plans by `encode_plans`; None without a subscription, which makes any plan sufficient
now       the current time

and for a profile with title rules, each a text by `encode_codes`:

blocked_titles, blocked_labels, allowed_titles, allowed_labels: titles by id, and genres and tags as `genre:horror`; the
allowed ones None if every title is allowed
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from streamsvc.models.catalog.facets import Facet, TitleFacet
from streamsvc.models.catalog.titles import Title, TitleAgeRating, TitlePlan, TitleWindow
from streamsvc.rules.maturity import ADULT_AGE, UNRATED_AGE_GATE
from streamsvc.storage.database import UtcTime

Statement = TypeVar("Statement")
NO_AGE_LIMIT = 10_000
EVERYWHERE = "*"
LABEL_KINDS = ("genre", "tag")
"""The kinds of facets that title rules name."""

_now = sa.bindparam("now", type_=UtcTime())
_plans = sa.bindparam("plans", type_=sa.Text())
_country = sa.bindparam("country", type_=sa.String())


def age_gate_in(country: Any) -> sa.ColumnElement[int]:
    """Return the age gate of a title in a country: `min_age_in` of rules/maturity.py for a known country."""
    gate = (
        sa.select(TitleAgeRating.age_gate)
        .where(TitleAgeRating.title_pk == Title.pk, TitleAgeRating.country == country)
        .correlate_except(TitleAgeRating)
        .scalar_subquery()
    )
    return sa.func.coalesce(gate, Title.min_age, UNRATED_AGE_GATE)


def within_age(limit: Any) -> sa.ColumnElement[bool]:
    """Whether the title's age in the viewer's country is at most `limit`.

    The country is only looked up for a title that some other country rates above the limit.
    """
    in_country = sa.and_(Title.rated_per_country, _country != "", age_gate_in(_country) <= limit)
    return sa.or_(Title.age_gate <= limit, in_country)


IN_WINDOW = sa.exists().where(
    TitleWindow.title_pk == Title.pk,
    TitleWindow.country.in_([EVERYWHERE, _country]),
    sa.or_(TitleWindow.starts_at.is_(None), TitleWindow.starts_at <= _now),
    sa.or_(TitleWindow.ends_at.is_(None), TitleWindow.ends_at > _now),
)
# One parameter for any number of plans, so that the statement is compiled once: a code is among them if taking it out
# changes the text. A record may name any text as a plan, so its own spaces must not match those between codes.
_entry = sa.literal(" ") + sa.func.replace(TitlePlan.plan_code, " ", "?") + sa.literal(" ")
_is_held = sa.func.replace(_plans, _entry, "") != _plans
IN_PLAN = sa.exists().where(TitlePlan.title_pk == Title.pk, sa.or_(_plans.is_(None), _is_held))
WITHIN_MAX_AGE = within_age(sa.bindparam("max_age", type_=sa.Integer()))
VISIBLE = sa.and_(
    Title.removed_at.is_(None),
    WITHIN_MAX_AGE,
    sa.or_(Title.windowed.is_(False), IN_WINDOW),
    sa.or_(Title.plan_limited.is_(False), IN_PLAN),
)
IN_CATALOG = Title.removed_at.is_(None)
"""What an operator may see: every title that is not removed."""


def _is_in(codes: sa.BindParameter[str], column: Any) -> sa.ColumnElement[bool]:
    return sa.func.replace(codes, sa.literal(" ") + column + sa.literal(" "), "") != codes


_link, _label = aliased(TitleFacet), aliased(Facet)
"""Aliases, so that the test of a list over the links of one facet is not about that facet alone."""


def _is_in_set(name: str) -> sa.ColumnElement[bool]:
    titles, labels = (sa.bindparam(f"{name}_{kind}", type_=sa.Text()) for kind in ("titles", "labels"))
    has_label = sa.exists().where(
        _link.title_pk == Title.pk,
        _label.pk == _link.facet_pk,
        sa.or_(*(_label.kind == kind for kind in LABEL_KINDS)),
        _is_in(labels, _label.kind + sa.literal(":") + _label.code),
    )
    return sa.or_(_is_in(titles, Title.id), sa.and_(labels != "", has_label))


BY_TITLE_RULES = sa.and_(
    sa.not_(_is_in_set("blocked")),
    sa.or_(sa.bindparam("allowed_titles", type_=sa.Text()).is_(None), _is_in_set("allowed")),
)
"""`TitleRules.allow` of rules/playback/restrictions.py."""


def _is_for_visitors(gate: Any) -> sa.ColumnElement[bool]:
    return sa.or_(gate < sa.literal_column(str(ADULT_AGE)), gate == sa.literal_column(str(UNRATED_AGE_GATE)))


FOR_VISITORS = sa.or_(
    Title.age_gate < sa.literal_column(str(ADULT_AGE)),
    sa.and_(Title.rated_per_country.is_(False), _is_for_visitors(Title.age_gate)),
    sa.and_(Title.rated_per_country, _country != "", _is_for_visitors(age_gate_in(_country))),
)
"""`_may_be_adult` of rules/playback/access.py."""
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
