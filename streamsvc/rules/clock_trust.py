"""Whether a machine's clock can be trusted: compared with its own past, with other machines, and with the database."""

from dataclasses import dataclass
from datetime import datetime, timedelta

MAX_STEP = timedelta(hours=1)
"""The clock may be set, or differ from the database's, by this much."""
MAX_GAP = timedelta(days=7)
"""A service that was off for longer, while its machine was too, does not know what time it is."""
ABSORBED_STEP = timedelta(minutes=1)
"""Corrections up to this are believed; larger ones add up."""


@dataclass(frozen=True)
class Start:
    """The result of comparing the clock at the start of a process: the time to go on from, and what is wrong."""

    time: datetime
    doubt: str | None


def judge_start(
    shown: datetime, expected: datetime | None, latest: datetime | None, held: datetime, max_gap: timedelta | None
) -> Start:
    """Compare what the clock shows when a process starts with what the database knows.

    `expected`: what it should show, if this machine has not been restarted since its last reading. `latest`: the latest
    reading of any machine. `held`: the time that the process has gone by so far. `max_gap`: how much later than the
    latest reading the clock may be; None: any.
    """
    if expected is not None:
        if abs(shown - expected) <= MAX_STEP:
            return Start(shown, None)
        return Start(expected, describe_difference(shown - expected, "the time since the machine started"))
    if latest is None:
        return Start(shown, None)
    gap = shown - latest
    if gap < -MAX_STEP:
        return Start(max(latest, held), describe_difference(gap, "the last time that the service recorded"))
    if max_gap is not None and gap > max_gap:
        return Start(shown, describe_difference(gap, "the last time that the service recorded"))
    return Start(shown, None)


def judge_database(shown: datetime, database: datetime | None) -> str | None:
    """Return why the clock is in doubt beside the database's, if that has one of its own; None if it is not."""
    if database is None or abs(shown - database) <= MAX_STEP:
        return None
    return describe_difference(shown - database, "the database's clock")


def describe_difference(difference: timedelta, reference: str) -> str:
    """Describe a clock that differs: `the machine's clock is 40 days ahead of the database's clock`."""
    direction = "ahead of" if difference > timedelta() else "behind"
    return f"the machine's clock is {format_span(difference)} {direction} {reference}"


def format_span(span: timedelta) -> str:
    """Format the length of a span in whole days, hours or seconds: `40 days`, `3 hours`, `90 s`."""
    seconds = round(abs(span).total_seconds())
    for unit_s, name in ((86_400, "days"), (3_600, "hours")):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s:,} {name}"
    return f"{seconds} s"
