"""What a household's owner restricts for a profile: titles and genres that it may see, and hours in which it may play.

Stored as the JSON of the API: {"blocked": {"titles": […], "genres": […], "tags": […]}, "allowed_only": null or the
same, "viewing_hours": null or [{"days": ["mon", …], "start": "07:00", "end": "20:00"}]}.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from streamsvc.rules.playback.inputs import ViewingHoursInput

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NO_RESTRICTIONS: dict[str, Any] = {
    "blocked": {"titles": [], "genres": [], "tags": []},
    "allowed_only": None,
    "viewing_hours": None,
}


@dataclass(frozen=True)
class TitleSet:
    """Titles and channels by id, and all of some genres and with some tags; sorted, since ETags contain them."""

    titles: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "TitleSet":
        """Return the set in stored restrictions, which may be older than tags."""
        return cls(*(tuple(sorted(set(stored.get(name, ())))) for name in ("titles", "genres", "tags")))

    def contains(self, title_id: str, genres: frozenset[str], tags: frozenset[str]) -> bool:
        """Whether a title is in the set."""
        return title_id in self.titles or not genres.isdisjoint(self.genres) or not tags.isdisjoint(self.tags)


@dataclass(frozen=True)
class TitleRules:
    """Which titles a profile may see: none of `blocked`, and if `allowed_only` is not None, only those."""

    blocked: TitleSet = TitleSet()
    allowed_only: TitleSet | None = None

    def allow(self, title_id: str, genres: frozenset[str], tags: frozenset[str] = frozenset()) -> bool:
        title = (title_id, genres, tags)
        return not self.blocked.contains(*title) and (self.allowed_only is None or self.allowed_only.contains(*title))


def complete_restrictions(stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a profile's restrictions as the API shows them; stored ones may be older than tags."""
    if stored is None:
        return NO_RESTRICTIONS
    allowed = stored["allowed_only"]
    no_titles: dict[str, list[str]] = NO_RESTRICTIONS["blocked"]
    return {
        **stored,
        "blocked": no_titles | stored["blocked"],
        "allowed_only": None if allowed is None else no_titles | allowed,
    }


def parse_title_rules(restrictions: Mapping[str, Any] | None) -> TitleRules | None:
    """Return the rules that a profile's restrictions contain; None if it may see every title."""
    if restrictions is None:
        return None
    allowed = restrictions["allowed_only"]
    rules = TitleRules(TitleSet.of(restrictions["blocked"]), None if allowed is None else TitleSet.of(allowed))
    return None if rules == TitleRules() else rules


def strictest_title_rules(rules: Iterable[TitleRules | None]) -> TitleRules | None:
    """Return rules that allow nothing which one of these forbids; they may allow less than all of them do."""
    given = [each for each in rules if each is not None]
    if not given:
        return None
    blocked = [each.blocked for each in given]
    allowed = [each.allowed_only for each in given if each.allowed_only is not None]
    return TitleRules(
        TitleSet(*(_union(values) for values in _members(blocked))),
        TitleSet(*(_common(values) for values in _members(allowed))) if allowed else None,
    )


def _members(sets: list[TitleSet]) -> Iterable[list[tuple[str, ...]]]:
    """Yield the titles of each set, then the genres, then the tags."""
    return ([getattr(each, member.name) for each in sets] for member in fields(TitleSet))


def closed_until(hours: Sequence[ViewingHoursInput] | None, time_zone: str, at: datetime) -> datetime | None:
    """Return when the viewing hours begin next; None within them, or if there are none.

    Hours are by the wall clock of the time zone. An end that is not after the start is on the next day. Where a clock
    that is changed shows a time twice, the first counts; a time that it skips counts as that much later.
    """
    if not hours:
        return None
    zone = ZoneInfo(time_zone)
    today = at.astimezone(zone).date()
    spans = [span for offset in range(-1, 16) for span in _spans_of_day(hours, today + timedelta(days=offset), zone)]
    if any(starts_at <= at < ends_at for starts_at, ends_at in spans):
        return None
    return min(starts_at for starts_at, ends_at in spans if at < starts_at < ends_at)


def _spans_of_day(hours: Sequence[ViewingHoursInput], day: date, zone: ZoneInfo) -> Iterable[tuple[datetime, datetime]]:
    for span in hours:
        if DAYS[day.weekday()] in span["days"]:
            last_day = day + timedelta(days=1) if span["end"] <= span["start"] else day
            yield _in_utc(day, span["start"], zone), _in_utc(last_day, span["end"], zone)


def _in_utc(day: date, clock_time: str, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock_time), zone).astimezone(UTC)


def _union(values: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({value for each in values for value in each}))


def _common(values: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(set.intersection(*map(set, values))))
