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

from streamsvc.rules.maturity import gate


@dataclass(frozen=True)
class Window:
    """A licence: half-open, `starts_at <= now < ends_at`. None: every country, since ever, for ever."""

    countries: frozenset[str] | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def covers(self, country: str | None) -> bool:
        return self.countries is None or country in self.countries

    def has_begun(self, now: datetime) -> bool:
        return self.starts_at is None or self.starts_at <= now

    def is_over(self, now: datetime) -> bool:
        return self.ends_at is not None and self.ends_at <= now

    def is_open(self, now: datetime) -> bool:
        return self.has_begun(now) and not self.is_over(now)


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


class Check(NamedTuple):
    """One condition: its name, whether it holds, and the refusal's code where it does not."""

    name: str
    passed: bool
    code: str


class Verdict(NamedTuple):
    """`reason` None: playable. The times are those of the window that is open, or opens next, or closed last."""

    hidden: bool
    reason: str | None
    starts_at: datetime | None
    ends_at: datetime | None

    @property
    def playable(self):
        return self.reason is None


def checks(title: TitleFacts, viewer: ViewerFacts, now: datetime) -> Iterator[Check]:
    """Every condition of playing, in the order in which refusals are told."""
    yield Check("maturity", suits(title.min_age, viewer.max_age), "not_found")
    yield Check("profile", viewer.has_profile, "profile_required")
    yield Check("subscription", viewer.subscribed or viewer.any_plan, "subscription_required")
    yield Check("plan", _in_plan(title, viewer), "not_in_plan")
    windows = (Window(),) if title.windows is None else title.windows
    somewhere = bool(windows) and all(window.countries is not None for window in windows)
    yield Check("country_known", viewer.country is not None or not somewhere, "country_unknown")
    here = [window for window in windows if window.covers(viewer.country)]
    yield Check("country", bool(here), "not_available_in_country")
    unfinished = [window for window in here if not window.is_over(now)]
    is_open = any(window.has_begun(now) for window in unfinished)
    yield Check("begun", is_open or not unfinished, "not_yet_available")
    yield Check("not_over", bool(unfinished) or not here, "no_longer_available")


def verdict(title: TitleFacts, viewer: ViewerFacts, now: datetime) -> Verdict:
    """The first refusal, if any, and the times of the window that matters."""
    failed = next((check for check in checks(title, viewer, now) if not check.passed), None)
    window = window_that_matters(title, viewer.country, now)
    hidden = failed is not None and failed.name == "maturity"
    return Verdict(hidden, failed and failed.code, window and window.starts_at, window and window.ends_at)


def is_listed(title: TitleFacts, viewer: ViewerFacts, now: datetime) -> bool:
    """Whether lists show the title. `models/catalog/visibility.py` says the same in SQL; a test keeps them equal."""
    if title.plans is not None and not title.plans and not viewer.any_plan:
        return False
    waived = {"profile", "subscription"} | (set() if viewer.subscribed else {"plan"})
    return all(check.passed for check in checks(title, viewer, now) if check.name not in waived)


def suits(min_age: int | None, max_age: int | None) -> bool:
    """Whether a title of this age suits a profile limited to that age. Unrated suits only who has no limit."""
    return max_age is None or gate(min_age) <= max_age


def window_that_matters(title: TitleFacts, country: str | None, now: datetime) -> Window | None:
    """The open window that lasts longest; else the next to open; else the last to have closed."""
    here = [window for window in title.windows or () if window.covers(country)]
    is_open = [window for window in here if window.is_open(now)]
    if is_open:
        return max(is_open, key=lambda window: (window.ends_at is None, window.ends_at or now))
    to_come = [window for window in here if not window.has_begun(now) and window.starts_at]
    if to_come:
        return min(to_come, key=lambda window: window.starts_at or now)
    return max(here, key=lambda window: window.ends_at or now, default=None)


def _in_plan(title, viewer):
    return viewer.any_plan or title.plans is None or viewer.plan in title.plans
