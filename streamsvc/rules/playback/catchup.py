"""Catch-up: for how long a programme that was broadcast can be played, and where its recording is.

The placeholders are those of M3U playlists, as in Kodi's pvr.iptvsimple ("Catchup format specifiers"): `{utc}`,
`${start}`, `{utcend}`, `${end}`, the current time as `{lutc}`, `${now}` and `${timestamp}`, and in seconds `{duration}`
and `{offset}`, the time since the start. `{utc:YmdHMS}` formats a time, `{duration:60}` divides; `{Y}`, `{m}`, `{d}`,
`{H}`, `{M}` and `{S}` are the parts of the start. The `$` may be left out.
"""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from streamsvc.rules.playback.access import Window
from streamsvc.rules.playback.media_paths import parse_media_url

_PLACEHOLDER = re.compile(r"\$?\{([A-Za-z-]+)(?::([^{}]*))?\}")
_PARTS = {"Y": "%Y", "m": "%m", "d": "%d", "H": "%H", "M": "%M", "S": "%S"}
_STARTS = ("utc", "start")
_EXAMPLE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def expand_template(
    template: str, starts_at: datetime, ends_at: datetime, now: datetime, time_zone: str | None = None
) -> str:
    """Return the URL of a programme's recording. Raises ValueError for an unknown placeholder."""
    zone = ZoneInfo(time_zone) if time_zone else UTC
    times = dict.fromkeys(_STARTS, starts_at) | {"utcend": ends_at, "end": ends_at}
    times |= dict.fromkeys(("lutc", "now", "timestamp"), now)
    durations = {"duration": ends_at - starts_at, "offset": max(now - starts_at, timedelta())}

    def value(match: re.Match[str]) -> str:
        name, argument = match[1], match[2]
        if name in _PARTS and argument is None:
            return starts_at.astimezone(zone).strftime(_PARTS[name])
        if name in times:
            return _format_time(times[name], zone, argument)
        if name in durations:
            return str(int(durations[name].total_seconds()) // _parse_divisor(argument))
        raise ValueError(f"Unknown placeholder {match[0]}; use {{start}}, {{end}} and {{duration}}.")

    return _PLACEHOLDER.sub(value, template)


def _format_time(moment: datetime, zone: ZoneInfo | object, form: str | None) -> str:
    if form is None:
        return str(int(moment.timestamp()))
    local = moment.astimezone(zone)  # type: ignore[arg-type]  # either kind of zone
    return "".join(local.strftime(_PARTS[sign]) if sign in _PARTS else sign for sign in form)


def _parse_divisor(argument: str | None) -> int:
    if argument is None:
        return 1
    if not argument.isascii() or not argument.isdecimal() or not 1 <= int(argument[:9]) <= 86_400:
        raise ValueError("{duration:N} and {offset:N} need a whole number of seconds from 1 to 86400.")
    return int(argument)


def check_template(template: str) -> None:
    """Raise ValueError unless the template names the start of a programme and expands to a media URL."""
    if not any(match[1] in (*_STARTS, *_PARTS, "offset") for match in _PLACEHOLDER.finditer(template)):
        raise ValueError("Must contain the start of the programme, such as {start}.")
    parse_media_url(expand_template(template, *_EXAMPLE))


def archive_prefix(template: str) -> str | None:
    """Return how the paths of all recordings begin; None if they differ in their query alone."""
    path = urlsplit(template).path
    match = _PLACEHOLDER.search(path)
    return unquote(path[: match.start()]) if match else None


def available_until(ends_at: datetime, catchup_hours: int | None) -> datetime | None:
    """Return until when a programme can be played; None without catch-up."""
    return None if catchup_hours is None else ends_at + timedelta(hours=catchup_hours)


def catchup_windows(
    windows: tuple[Window, ...] | None, starts_at: datetime, until: datetime | None
) -> tuple[Window, ...]:
    """Return the windows of a programme on catch-up: those of its channel, cut to its start and its `available_until`.

    Without catch-up they are over as soon as they start.
    """
    last = until or starts_at
    return tuple(
        Window(
            window.countries,
            starts_at if window.starts_at is None else max(window.starts_at, starts_at),
            last if window.ends_at is None else min(window.ends_at, last),
        )
        for window in (windows if windows is not None else (Window(),))
    )
