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
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from streamsvc.models.catalog.facets import Facet, TitleFacet
from streamsvc.models.catalog.parts import EpisodePlan, PartWindow
from streamsvc.models.catalog.series import Episode
from streamsvc.models.catalog.titles import Title, TitleAgeRating, TitlePlan, TitleWindow
from streamsvc.rules.maturity import ADULT_AGE, UNRATED_AGE_GATE
from streamsvc.storage.database import UtcTime

Statement = TypeVar("Statement")
NO_AGE_LIMIT = 10_000
EVERYWHERE = "*"
LABEL_KINDS = ("genre", "tag")
"""The kinds of facets that title rules name."""

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
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


def _is_open_here(window: type[TitleWindow] | type[PartWindow]) -> sa.ColumnElement[bool]:
    return sa.and_(
        window.country.in_([EVERYWHERE, _country]),
        sa.or_(window.starts_at.is_(None), window.starts_at <= _now),
        sa.or_(window.ends_at.is_(None), window.ends_at > _now),
    )


IN_WINDOW = sa.exists().where(TitleWindow.title_pk == Title.pk, _is_open_here(TitleWindow))


# One parameter for any number of plans, so that the statement is compiled once: a code is among them if taking it out
# changes the text. A record may name any text as a plan, so its own spaces must not match those between codes.
def _is_held(plan_code: Any) -> sa.ColumnElement[bool]:
    entry = sa.literal(" ") + sa.func.replace(plan_code, " ", "?") + sa.literal(" ")
    return sa.or_(_plans.is_(None), sa.func.replace(_plans, entry, "") != _plans)


IN_PLAN = sa.exists().where(TitlePlan.title_pk == Title.pk, _is_held(TitlePlan.plan_code))
_max_age = sa.bindparam("max_age", type_=sa.Integer())
WITHIN_MAX_AGE = within_age(_max_age)
VISIBLE = sa.and_(
    Title.removed_at.is_(None),
    WITHIN_MAX_AGE,
    sa.or_(Title.windowed.is_(False), IN_WINDOW),
    sa.or_(Title.plan_limited.is_(False), IN_PLAN),
)


def is_of_episode(part: type[PartWindow] | type[EpisodePlan], episode: Any) -> sa.ColumnElement[bool]:
    """Return the condition that a window or a plan is that of an episode."""
    item = sa.cast(episode.season, sa.String) + "/" + sa.cast(episode.number, sa.String)
    return sa.and_(part.title_pk == episode.title_pk, part.item == item)


def allowed_by_age(episode: Any = Episode) -> sa.ColumnElement[bool]:
    """Return the condition that the profile's limit allows the episode's own age rating, besides its series'."""
    return sa.or_(episode.age_gate.is_(None), episode.age_gate <= _max_age)


def episode_visible(episode: Any = Episode) -> sa.ColumnElement[bool]:
    """Return what an episode of a VISIBLE series adds: rules/playback/part_rights.py in SQL, but for its release."""
    in_window = sa.exists().where(is_of_episode(PartWindow, episode), _is_open_here(PartWindow))
    in_plan = sa.exists().where(is_of_episode(EpisodePlan, episode), _is_held(EpisodePlan.plan_code))
    return sa.and_(
        allowed_by_age(episode),
        sa.or_(episode.windowed.is_(False), in_window),
        sa.or_(episode.plan_limited.is_(False), in_plan),
    )


_own_start = sa.func.min(sa.func.coalesce(PartWindow.starts_at, sa.bindparam("always", _ALWAYS, UtcTime())))
EPISODE_OPENED_AT = sa.case(
    (
        Episode.windowed.is_(True),
        sa.select(_own_start).where(is_of_episode(PartWindow, Episode), _is_open_here(PartWindow)).scalar_subquery(),
    ),
)
"""When the episode became available in a window of its own; null if it has none that is open."""
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
EPISODE_CONDITIONS: dict[Visibility, list[sa.ColumnElement[bool]]] = {
    "all": [],
    "listed": [episode_visible()],
    "restricted": [episode_visible()],
    "public": [episode_visible(), sa.or_(Episode.age_gate.is_(None), _is_for_visitors(Episode.age_gate))],
}
"""What an episode adds to those of its series."""


def per_visibility(build: Callable[[Any], Statement]) -> dict[Visibility, Statement]:
    """Return the statement that `build` makes of each of CONDITIONS.

    Only profiles with title rules pay for the test of them.
    """
    return {visibility: build(condition) for visibility, condition in CONDITIONS.items()}


def encode_codes(codes: Iterable[str]) -> str:
    """Return the value of a parameter that holds codes: each between two spaces, which no code contains."""
    return "".join(f" {code} " for code in codes)
