"""Whether to ask the viewer of a stream "still watching?", and when to end it unanswered."""

from datetime import datetime, timedelta
from typing import NamedTuple

from streamsvc.rules.playback.progress import LONGEST_AGE
from streamsvc.rules.playback.stream_rules import FINAL_STATES, HEARTBEAT_INTERVAL

QUESTION = "still_watching"
UNANSWERED_HEARTBEATS = 4
ANSWER_TIME = UNANSWERED_HEARTBEATS * HEARTBEAT_INTERVAL
"""How long the question is repeated before the stream ends; by time, since players send extra heartbeats."""


class Activity(NamedTuple):
    """When the viewer last did something, and since when they are asked.

    `is_over`: they were asked long enough, and the stream must end.
    """

    active_at: datetime
    asked_at: datetime | None
    is_over: bool = False


def latest_activity(
    previous: Activity, states: tuple[str, str], idle: timedelta | None, ask_after: timedelta, now: datetime
) -> Activity:
    """Return the activity after a heartbeat.

    `states`: of the heartbeat before and of this one. `idle`: how long ago the viewer last did something according to
    the player, None if it does not say; then only a stream that stays paused is known to have an idle viewer.
    `ask_after`: the operator's limit, zero for none.
    """
    was, state = states
    is_act = was != state and ("paused" in states or state == "seeking")
    active_at = now if is_act else previous.active_at
    if idle is not None:
        active_at = max(active_at, now - min(max(idle, timedelta()), LONGEST_AGE))
    is_idle = ask_after and state not in FINAL_STATES and (state == "paused" or idle is not None)
    if not is_idle or now - active_at < ask_after:
        return Activity(active_at, None)
    asked_at = previous.asked_at or now
    return Activity(active_at, asked_at, is_over=now - asked_at >= ANSWER_TIME)
