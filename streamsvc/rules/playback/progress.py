"""Viewing progress: when an item counts as started and as watched, and which of two reports is newer.

Every fact in a progress row grows in one direction, so that late, repeated and reordered reports lead to the same row:
the position is that of the newest report, `watched_at` the latest time the end was reached, `restarted_at` the latest
time the viewer started again. models/progress.py is the same rule in SQL.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

STARTED_AFTER_S = 30
STARTED_AFTER_SHARE = 0.05
WATCHED_SHARE = 0.9
INACTIVE_AFTER = timedelta(days=365)
"""Items without progress for so long leave "Continue watching" and "Next up"."""


@dataclass(frozen=True)
class ProgressReport:
    """A player's report. `at` is its time by the server's clock, `claimed_at` by the player's.

    The time of a player whose clock runs ahead counts as now, so that it cannot suppress all later reports.
    """

    position_s: int
    duration_s: int | None
    at: datetime
    claimed_at: datetime
    watched_at: datetime | None
    restarted_at: datetime | None


@dataclass(frozen=True)
class PlayableItem:
    """A film, or an episode of the series `title_id`. `runtime_s` is None if unknown."""

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
    """Return the report that a player's values stand for.

    The player's duration takes precedence over the catalogue's, since cuts differ.
    """
    duration_s = duration_s or item.runtime_s
    position_s = min(position_s, duration_s) if duration_s else position_s
    at = min(claimed_at, now)
    watched = reaches_end(position_s, duration_s, item.credits_s)
    return ProgressReport(position_s, duration_s, at, claimed_at, at if watched else None, restarted_at)


def reaches_end(position_s: int, duration_s: int | None, credits_s: int | None) -> bool:
    """Whether a position is the end: the start of the credits if known, else nine tenths of the duration."""
    if credits_s and (duration_s is None or credits_s <= duration_s):
        return position_s >= credits_s
    return duration_s is not None and duration_s > 0 and position_s >= duration_s * WATCHED_SHARE


def is_finished(watched_at: datetime | None, restarted_at: datetime | None) -> bool:
    """Whether an item was watched to the end and not restarted since."""
    return watched_at is not None and (restarted_at is None or restarted_at <= watched_at)


def is_started(position_s: int, duration_s: int | None) -> bool:
    """Whether enough was watched to resume from there."""
    return position_s >= min(
        STARTED_AFTER_S, (duration_s or STARTED_AFTER_S / STARTED_AFTER_SHARE) * STARTED_AFTER_SHARE
    )


def resume_position_s(
    position_s: int | None, duration_s: int | None, watched_at: datetime | None, restarted_at: datetime | None
) -> int:
    """Return the position from which to resume, in seconds; 0 is the start."""
    if not position_s or is_finished(watched_at, restarted_at) or not is_started(position_s, duration_s):
        return 0
    return position_s
