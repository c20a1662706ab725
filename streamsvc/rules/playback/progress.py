"""How far a viewer got: what counts as begun, what as watched, and which of two reports is the newer one.

Every fact of a progress row grows in one direction, so that reports may come late, twice and in any order and the row
ends up the same: the position is that of the newest report, `watched_at` the latest time that the end was reached,
`restarted_at` the latest time that a viewer began again. `models/progress.py` says the same in SQL.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

STARTED_AFTER_S = 30
STARTED_AFTER_SHARE = 0.05
WATCHED_SHARE = 0.9
INACTIVE_AFTER = timedelta(days=365)
"""What nobody went on with for so long leaves "continue watching" and "next up"."""


@dataclass(frozen=True)
class ProgressReport:
    """What a player says. `at` is when by the service's clock, `claimed_at` when by the player's.

    A player's clock that runs ahead counts as now, so that it cannot shut out every report to come.
    """

    position_s: int
    duration_s: int | None
    at: datetime
    claimed_at: datetime
    watched_at: datetime | None
    restarted_at: datetime | None


@dataclass(frozen=True)
class PlayableItem:
    """What there is to play: a film, or an episode of the series `title_id`. `runtime_s` None: not known."""

    id: str
    title_id: str
    runtime_s: int | None = None
    credits_s: int | None = None
    season: int | None = None
    episode: int | None = None


def normalize_report(
    item: PlayableItem,
    position_s: int,
    duration_s: int | None,
    claimed_at: datetime,
    now: datetime,
    restarted_at: datetime | None = None,
) -> ProgressReport:
    """What one report means. The player's own duration counts before the catalogue's: cuts differ."""
    duration_s = duration_s or item.runtime_s
    position_s = min(position_s, duration_s) if duration_s else position_s
    at = min(claimed_at, now)
    watched = reaches_end(position_s, duration_s, item.credits_s)
    return ProgressReport(position_s, duration_s, at, claimed_at, at if watched else None, restarted_at)


def reaches_end(position_s: int, duration_s: int | None, credits_s: int | None) -> bool:
    """Whether that is the end: where the credits begin, as far as that is known, else nine tenths."""
    if credits_s and (duration_s is None or credits_s <= duration_s):
        return position_s >= credits_s
    return bool(duration_s) and position_s >= duration_s * WATCHED_SHARE


def is_finished(watched_at: datetime | None, restarted_at: datetime | None) -> bool:
    """Whether it was watched to its end and not begun again since."""
    return watched_at is not None and (restarted_at is None or restarted_at <= watched_at)


def is_started(position_s: int, duration_s: int | None) -> bool:
    """Whether so much was seen that one would want to go on from there."""
    return position_s >= min(
        STARTED_AFTER_S, (duration_s or STARTED_AFTER_S / STARTED_AFTER_SHARE) * STARTED_AFTER_SHARE
    )


def resume_position_s(
    position_s: int | None, duration_s: int | None, watched_at: datetime | None, restarted_at: datetime | None
) -> int:
    """Where to go on, in seconds; 0 is the beginning."""
    if not position_s or is_finished(watched_at, restarted_at) or not is_started(position_s, duration_s):
        return 0
    return position_s
