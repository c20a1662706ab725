"""Access to titles: the one decision behind lists, search, rows, credits, details, playback and explanations.

Two questions, one set of facts:

* **May it be played?** `access_checks` yields every condition in a fixed order; `decide_access` returns the first that
  fails.
* **May it be listed?** `is_listed`. A restricted title is absent: outside the viewer's country, window, plan or age
  limit, or forbidden by the household's owner, it is in no list, search, suggestion, row or filmography. Some
  conditions are waived: viewers without a subscription may browse what any plan includes, and everybody may browse
  outside viewing hours and through a VPN.

A visitor without a token sees what a viewer without a subscription sees in the same country, except titles for adults.

A title's own page is shown even if its window, country or plan forbids playback, with the reason in `availability`, so
that a shared link explains itself; only the profile's age limit and title rules hide it, as if it did not exist.

Unknown values are refused: an unrated title is above every limit, an unknown country is in no window and gets the
strictest of a title's ratings.

A live channel and a programme on catch-up are decided like titles. A channel has one more condition: the programme that
is on now must be allowed, too. It does not hide the channel.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from streamsvc.rules.maturity import ADULT_AGE, UNRATED_AGE_GATE, age_gate, min_age_in
from streamsvc.rules.playback.restrictions import TitleRules


@dataclass(frozen=True)
class Window:
    """A licence window, half-open: `starts_at <= now < ends_at`. None: every country, no start, no end."""

    countries: frozenset[str] | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def covers(self, country: str | None) -> bool:
        return self.countries is None or country in self.countries

    def has_started(self, now: datetime) -> bool:
        return self.starts_at is None or self.starts_at <= now

    def has_ended(self, now: datetime) -> bool:
        return self.ends_at is not None and self.ends_at <= now

    def is_open(self, now: datetime) -> bool:
        return self.has_started(now) and not self.has_ended(now)


@dataclass(frozen=True)
class ProgrammeFacts:
    """What access to a channel depends on while a programme is on. `min_age` None: that of the channel counts.

    `genres` and `tags`: its own, and those of the title that it broadcasts.
    """

    min_age: int | None = None
    title_id: str | None = None
    genres: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TitleFacts:
    """What access to a title depends on. `title_id`, `genres` and `tags` matter only to a profile with `title_rules`.

    `windows` None: everywhere, always; empty: nowhere. `plans` None: every plan; empty: none. `released_on`: the day,
    in UTC, on which an episode is released; None if it is not known. `min_ages`: those of countries with a rating of
    their own. `programme`: what is on now on a live channel, or what is played from its catch-up. `is_free`: needs no
    subscription. `own_age_gate`: of an episode's or an extra's own rating, besides its title's. `shares_media`: of an
    extra, whether its manifest is also that of a film, an episode or a channel, whose rights it would evade.
    """

    min_age: int | None = None
    windows: tuple[Window, ...] | None = None
    plans: frozenset[str] | None = None
    released_on: date | None = None
    title_id: str = ""
    genres: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    min_ages: Mapping[str, int | None] = field(default_factory=dict)
    programme: ProgrammeFacts | None = None
    is_free: bool = False
    own_age_gate: int = 0
    shares_media: bool = False

    def min_age_in(self, country: str | None) -> int | None:
        """Return the minimum age in a country: the title's, or that of the part's own rating if it is higher."""
        gate = max(age_gate(min_age_in(country, self.min_age, self.min_ages)), self.own_age_gate)
        return None if gate == UNRATED_AGE_GATE else gate

    @property
    def released_at(self) -> datetime | None:
        return datetime.combine(self.released_on, time(), UTC) if self.released_on else None


@dataclass(frozen=True)
class ViewerFacts:
    """What a viewer's access depends on.

    `max_age` None: no limit. `plans`: the codes of the plans held, sorted, since ETags contain them. `any_plan`: an
    operator, to whom subscription and plan do not apply. `title_rules`: those of the profile, None without any.
    `closed_until`: when the profile's viewing hours begin next; None within them. `network_refused`: the request
    comes from a VPN or a host that the operator refuses. `is_visitor`: a visitor without a token, whose age nobody
    knows and who can subscribe: what a subscription would not change is reported first.
    """

    max_age: int | None = None
    country: str | None = None
    subscribed: bool = False
    plans: tuple[str, ...] = ()
    has_profile: bool = True
    any_plan: bool = False
    title_rules: TitleRules | None = None
    closed_until: datetime | None = None
    network_refused: bool = False
    is_visitor: bool = False

    @property
    def has_limits(self) -> bool:
        """Whether something may be hidden by its age or by title rules; from visitors, what is for adults is."""
        return self.max_age is not None or self.title_rules is not None or self.is_visitor


class AccessCheck(NamedTuple):
    """A condition: its name, whether it holds, and the error code if it does not."""

    name: str
    passed: bool
    code: str


class AccessDecision(NamedTuple):
    """The result: `reason` is None if playable. The times are those of `relevant_window`.

    `hidden` by the profile's age limit or title rules.
    """

    hidden: bool
    reason: str | None
    starts_at: datetime | None
    ends_at: datetime | None

    @property
    def playable(self) -> bool:
        return self.reason is None


def access_checks(title: TitleFacts, viewer: ViewerFacts, now: datetime) -> Iterator[AccessCheck]:
    """Yield every condition of playback, in the order in which errors are reported."""
    yield AccessCheck("maturity", _is_age_allowed(title, viewer), "not_found")
    yield AccessCheck("title_rules", _is_allowed_by_rules(title, viewer), "not_found")
    if title.shares_media:
        yield AccessCheck("own_media", False, "extra_media_shared")
    if title.programme:
        yield AccessCheck("programme", is_programme_allowed(title.programme, viewer), "programme_restricted")
    yield AccessCheck("profile", viewer.has_profile, "profile_required")
    yield AccessCheck("viewing_hours", viewer.closed_until is None, "outside_viewing_hours")
    if not viewer.is_visitor:
        yield from _plan_checks(title, viewer)
    yield AccessCheck("network", not viewer.network_refused, "vpn_not_allowed")
    windows = (Window(),) if title.windows is None else title.windows
    country_matters = bool(windows) and all(window.countries is not None for window in windows)
    yield AccessCheck("country_known", viewer.country is not None or not country_matters, "country_unknown")
    here = [window for window in windows if window.covers(viewer.country)]
    yield AccessCheck("country", bool(here), "not_available_in_country")
    not_ended = [window for window in here if not window.has_ended(now)]
    is_open = any(window.has_started(now) for window in not_ended)
    is_released = title.released_at is None or title.released_at <= now
    yield AccessCheck("begun", (is_open and is_released) or not not_ended, "not_yet_available")
    yield AccessCheck("not_over", bool(not_ended) or not here, "no_longer_available")
    if viewer.is_visitor:
        yield from _plan_checks(title, viewer)


def _plan_checks(title: TitleFacts, viewer: ViewerFacts) -> Iterator[AccessCheck]:
    yield AccessCheck("subscription", viewer.subscribed or viewer.any_plan or title.is_free, "subscription_required")
    yield AccessCheck("plan", _in_plan(title, viewer), "not_in_plan")


def decide_access(title: TitleFacts, viewer: ViewerFacts, now: datetime) -> AccessDecision:
    """Return the first refusal, if any, and the times of the relevant window."""
    failed = next((check for check in access_checks(title, viewer, now) if not check.passed), None)
    window = relevant_window(title, viewer.country, now)
    hidden = failed is not None and failed.name in ("maturity", "title_rules")
    starts_at, ends_at = (window.starts_at, window.ends_at) if window else (None, None)
    if title.released_at and title.released_at > max(now, starts_at or now):
        starts_at = title.released_at
    return AccessDecision(hidden, failed.code if failed else None, starts_at, ends_at)


def is_listed(title: TitleFacts, viewer: ViewerFacts, now: datetime) -> bool:
    """Whether lists show the title. models/catalog/visibility.py is the same rule in SQL; a test keeps them equal."""
    if title.plans is not None and not title.plans and not viewer.any_plan:
        return False
    waived = {"programme", "profile", "viewing_hours", "subscription", "network"}
    waived |= set() if viewer.subscribed else {"plan"}
    return all(check.passed for check in access_checks(title, viewer, now) if check.name not in waived)


def is_age_allowed(min_age: int | None, max_age: int | None) -> bool:
    """Whether a profile's age limit allows a title of this age; an unrated title requires a profile without limit."""
    return max_age is None or age_gate(min_age) <= max_age


def is_programme_allowed(programme: ProgrammeFacts, viewer: ViewerFacts) -> bool:
    """Whether the profile's age limit and title rules allow a programme on a channel that they allow."""
    if viewer.is_visitor and is_adult(programme.min_age):
        return False
    if programme.min_age is not None and not is_age_allowed(programme.min_age, viewer.max_age):
        return False
    rules = viewer.title_rules
    return rules is None or not rules.blocked.contains(programme.title_id or "", programme.genres, programme.tags)


def is_adult(min_age: int | None) -> bool:
    """Whether a title is rated for adults only; an unrated one is not."""
    return min_age is not None and min_age >= ADULT_AGE


def _is_age_allowed(title: TitleFacts, viewer: ViewerFacts) -> bool:
    min_age = title.min_age_in(viewer.country)
    return is_age_allowed(min_age, viewer.max_age) and not (viewer.is_visitor and _may_be_adult(title, viewer.country))


def _may_be_adult(title: TitleFacts, country: str | None) -> bool:
    """Whether the title is for adults in a country, or may be: where the country is unknown, one may have no rating."""
    min_age = title.min_age_in(country)
    return is_adult(min_age) or (country is None and bool(title.min_ages) and min_age is None)


def _is_allowed_by_rules(title: TitleFacts, viewer: ViewerFacts) -> bool:
    return viewer.title_rules is None or viewer.title_rules.allow(title.title_id, title.genres, title.tags)


def relevant_window(title: TitleFacts, country: str | None, now: datetime) -> Window | None:
    """Return the open window that ends last; else the next to open; else the last that closed."""
    here = [window for window in title.windows or () if window.covers(country)]
    is_open = [window for window in here if window.is_open(now)]
    if is_open:
        return max(is_open, key=lambda window: (window.ends_at is None, window.ends_at or now))
    upcoming = [window for window in here if not window.has_started(now) and window.starts_at]
    if upcoming:
        return min(upcoming, key=lambda window: window.starts_at or now)
    return max(here, key=lambda window: window.ends_at or now, default=None)


def _in_plan(title: TitleFacts, viewer: ViewerFacts) -> bool:
    return viewer.any_plan or title.plans is None or not title.plans.isdisjoint(viewer.plans)
