"""Viewing progress: when a report was made, when an item counts as started and as watched, and which report is newer.

Every fact in a progress row grows in one direction, so that late, repeated and reordered reports lead to the same row:
the position is that of the newest report, `watched_at` the latest and `first_watched_at` the earliest time the end was
reached, `restarted_at` the latest time the viewer started again. models/progress.py is the same rule in SQL.

Players' clocks are wrong by minutes, and some by years. A heartbeat is dated by its arrival, and the player's time only
orders the heartbeats of one stream; a report from offline is dated by its age, which the player's own clock measures.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

LONGEST_AGE = timedelta(days=36_500)
"""Reports and interactions cannot be older; subtracting more would leave the calendar."""


AT_ONCE = timedelta(seconds=5)
"""Heartbeats of one stream that arrive within this time were sent at once; players send one every 30 seconds."""


class ProgressPolicy(NamedTuple):
    """The operator's thresholds; see the settings of the same names."""

    watched_percent: int = 90
    resume_after_s: int = 30
    resume_after_percent: int = 5
    continue_watching_days: int = 365
    """Items without progress for so long leave "Continue watching" and "Next up"."""


class ReportTime(NamedTuple):
    """When a report was made: `at` by the server's clock, `claimed_at` by the player's.

    `clock_session_id`: the session whose clock runs ahead by an unknown amount. Its reports count as made on arrival,
    and only `claimed_at` tells which of two is newer.
    """

    at: datetime
    claimed_at: datetime
    clock_session_id: str | None = None


class StreamClock(NamedTuple):
    """What orders the heartbeats of a stream: when the latest was sent by the player's clock, and when it arrived."""

    started_at: datetime
    claimed_at: datetime | None
    seen_at: datetime
    ttl: timedelta
    is_live: bool


@dataclass(frozen=True)
class ProgressReport:
    """A dated report. `watched_at` is None unless it reaches the end."""

    position_s: int
    duration_s: int | None
    at: datetime
    claimed_at: datetime
    clock_session_id: str | None
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


def date_report(claimed_at: datetime, sent_at: datetime | None, session_id: str, now: datetime) -> ReportTime:
    """Date a report that arrives now.

    With `sent_at`, the player's time at sending, the report is as old as the player says. Without it, the player's
    time counts, or now if that is in the future.
    """
    if sent_at is not None:
        at = now - min(max(sent_at - claimed_at, timedelta()), LONGEST_AGE)
        return ReportTime(at, at)
    return ReportTime(min(claimed_at, now), claimed_at, session_id if claimed_at > now else None)


def is_overtaken(claimed_at: datetime | None, stream: StreamClock, now: datetime) -> bool:
    """Whether a later heartbeat of the stream arrived first.

    A player's time that lies further back than a stream lives means that its clock was set back.
    """
    if claimed_at is None or stream.claimed_at is None:
        return False
    behind = stream.claimed_at - claimed_at
    return timedelta() < behind <= stream.ttl or _was_sent_before_set_back(claimed_at, stream, now)


def date_heartbeat(claimed_at: datetime | None, stream: StreamClock, now: datetime) -> datetime:
    """Date a heartbeat that arrives now: now, unless another overtook it or the stream has ended.

    Then it was sent as long before or after the latest heartbeat as the player's clock says. A time before the stream
    began means that this clock was set back: the heartbeat is of now if the stream may have lived until now, and no
    newer than the latest one if it may have waited for longer.
    """
    if stream.is_live and not is_overtaken(claimed_at, stream, now):
        return now
    if _was_sent_before_set_back(claimed_at, stream, now):
        return stream.seen_at
    if _was_set_back(claimed_at, stream):
        return now if now - stream.seen_at <= stream.ttl else stream.seen_at
    if claimed_at is None:
        at = stream.seen_at
    elif stream.claimed_at is None:
        at = claimed_at
    else:
        distance = claimed_at - stream.claimed_at
        at = stream.seen_at + min(max(distance, -LONGEST_AGE), LONGEST_AGE)
    return min(max(at, stream.started_at), now)


def _was_sent_before_set_back(claimed_at: datetime | None, stream: StreamClock, now: datetime) -> bool:
    """Whether a heartbeat that arrives right after the latest one seems to be from much later.

    The latest one overtook it, and the player's clock was set back between the two.
    """
    if claimed_at is None or stream.claimed_at is None:
        return False
    return now - stream.seen_at <= AT_ONCE and claimed_at - stream.claimed_at > stream.ttl


def _was_set_back(claimed_at: datetime | None, stream: StreamClock) -> bool:
    if claimed_at is None or stream.claimed_at is None:
        return False
    return stream.claimed_at - claimed_at > stream.seen_at - stream.started_at + stream.ttl


def normalize_report(
    item: PlayableItem,
    position_s: int,
    duration_s: int | None,
    time: ReportTime,
    policy: ProgressPolicy,
    restarted_at: datetime | None = None,
    ended: bool = False,
) -> ProgressReport:
    """Return the report that a player's values stand for. `ended`: the player says that it played to the end.

    The player's duration takes precedence over the catalogue's, since cuts differ.
    """
    duration_s = duration_s or item.runtime_s
    position_s = min(position_s, duration_s) if duration_s else position_s
    watched = ended or reaches_end(position_s, duration_s, item.credits_s, policy)
    return ProgressReport(position_s, duration_s, *time, time.at if watched else None, restarted_at)


def reaches_end(position_s: int, duration_s: int | None, credits_s: int | None, policy: ProgressPolicy) -> bool:
    """Whether a position is the end: the start of the credits if known, else the policy's share of the duration."""
    if credits_s and (duration_s is None or credits_s <= duration_s):
        return position_s >= credits_s
    return duration_s is not None and duration_s > 0 and position_s * 100 >= duration_s * policy.watched_percent


def is_finished(watched_at: datetime | None, restarted_at: datetime | None) -> bool:
    """Whether an item was watched to the end and not restarted since."""
    return watched_at is not None and (restarted_at is None or restarted_at <= watched_at)


def is_started(position_s: int, duration_s: int | None, policy: ProgressPolicy) -> bool:
    """Whether enough was watched to resume from there: the least time, or the least share of a short item."""
    if position_s >= policy.resume_after_s:
        return True
    return duration_s is not None and position_s * 100 >= duration_s * policy.resume_after_percent


def resume_position_s(
    position_s: int | None,
    duration_s: int | None,
    watched_at: datetime | None,
    restarted_at: datetime | None,
    policy: ProgressPolicy,
) -> int:
    """Return the position from which to resume, in seconds; 0 is the start."""
    if not position_s or is_finished(watched_at, restarted_at) or not is_started(position_s, duration_s, policy):
        return 0
    return position_s
