"""Who may see and play a title: the one decision behind lists, search, rows, credits, details, play and "why not?".

Two questions, one set of facts:

* **May it be played?** `checks` answers every condition in its fixed order; `verdict` is the first that fails.
* **May it be shown?** `is_listed`. Restricted means absent: a title outside the viewer's country, window, plan or
  maturity is in no list, search, suggestion, row or filmography. One thing is waived: who has no subscription may
  browse what some plan would show.

The detail of one title is told even where its window, country or plan refuses it, with the reason in `availability`,
so that a link a friend sent explains itself; maturity alone hides it, as if it did not exist.

Unknown is refused: an unrated title is above every limit, an unknown country is in no window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from streamsvc.rules.maturity import age_gate


@dataclass(frozen=True)
class Window:
    """A licence: half-open, `starts_at <= now < ends_at`. None: every country, since ever, for ever."""

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
class TitleFacts:
    """`windows` None: everywhere, always; empty: nowhere. `plans` None: every plan; empty: none."""

    min_age: int | None = None
    windows: tuple[Window, ...] | None = None
    plans: frozenset[str] | None = None


@dataclass(frozen=True)
class ViewerFacts:
    """`max_age` None: no limit. `any_plan`: an operator, to whom subscription and plan do not apply."""

    max_age: int | None = None
    country: str | None = None
    subscribed: bool = False
    plan: str | None = None
    has_profile: bool = True
    any_plan: bool = False


class AccessCheck(NamedTuple):
    """One condition: its name, whether it holds, and the refusal's code where it does not."""

    name: str
    passed: bool
    code: str


class AccessDecision(NamedTuple):
    """`reason` None: playable. The times are those of the window that is open, or opens next, or closed last."""

    hidden: bool
    reason: str | None
    starts_at: datetime | None
    ends_at: datetime | None

    @property
    def playable(self):
        return self.reason is None


def access_checks(title: TitleFacts, viewer: ViewerFacts, now: datetime) -> Iterator[AccessCheck]:
    """Every condition of playing, in the order in which refusals are told."""
    yield AccessCheck("maturity", is_age_allowed(title.min_age, viewer.max_age), "not_found")
    yield AccessCheck("profile", viewer.has_profile, "profile_required")
    yield AccessCheck("subscription", viewer.subscribed or viewer.any_plan, "subscription_required")
    yield AccessCheck("plan", _in_plan(title, viewer), "not_in_plan")
    windows = (Window(),) if title.windows is None else title.windows
    somewhere = bool(windows) and all(window.countries is not None for window in windows)
    yield AccessCheck("country_known", viewer.country is not None or not somewhere, "country_unknown")
    here = [window for window in windows if window.covers(viewer.country)]
    yield AccessCheck("country", bool(here), "not_available_in_country")
    unfinished = [window for window in here if not window.has_ended(now)]
    is_open = any(window.has_started(now) for window in unfinished)
    yield AccessCheck("begun", is_open or not unfinished, "not_yet_available")
    yield AccessCheck("not_over", bool(unfinished) or not here, "no_longer_available")


def decide_access(title: TitleFacts, viewer: ViewerFacts, now: datetime) -> AccessDecision:
    """The first refusal, if any, and the times of the window that matters."""
    failed = next((check for check in access_checks(title, viewer, now) if not check.passed), None)
    window = relevant_window(title, viewer.country, now)
    hidden = failed is not None and failed.name == "maturity"
    return AccessDecision(hidden, failed and failed.code, window and window.starts_at, window and window.ends_at)


def is_listed(title: TitleFacts, viewer: ViewerFacts, now: datetime) -> bool:
    """Whether lists show the title. `models/catalog/visibility.py` says the same in SQL; a test keeps them equal."""
    if title.plans is not None and not title.plans and not viewer.any_plan:
        return False
    waived = {"profile", "subscription"} | (set() if viewer.subscribed else {"plan"})
    return all(check.passed for check in access_checks(title, viewer, now) if check.name not in waived)


def is_age_allowed(min_age: int | None, max_age: int | None) -> bool:
    """Whether a title of this age suits a profile limited to that age. Unrated suits only who has no limit."""
    return max_age is None or age_gate(min_age) <= max_age


def relevant_window(title: TitleFacts, country: str | None, now: datetime) -> Window | None:
    """The open window that lasts longest; else the next to open; else the last to have closed."""
    here = [window for window in title.windows or () if window.covers(country)]
    is_open = [window for window in here if window.is_open(now)]
    if is_open:
        return max(is_open, key=lambda window: (window.ends_at is None, window.ends_at or now))
    to_come = [window for window in here if not window.has_started(now) and window.starts_at]
    if to_come:
        return min(to_come, key=lambda window: window.starts_at or now)
    return max(here, key=lambda window: window.ends_at or now, default=None)


def _in_plan(title, viewer):
    return viewer.any_plan or title.plans is None or viewer.plan in title.plans
