"""Request bodies of playback, as loaded by their schemas. A test compares each input with the schema that loads it."""

from datetime import datetime
from typing import Literal, TypedDict

from streamsvc.rules.inputs import DeviceKind, PageInput


class GrantInput(TypedDict):
    """The playback token in a query."""

    grant: str | None


class PlaybackInput(TypedDict):
    """What to play, on which device, and which stream to end for it."""

    item_id: str
    device_id: str | None
    max_height: int | None
    replace: str | None
    offline: bool


UsageDimension = Literal["day", "plan", "country", "device", "title"]


class ExplainInput(TypedDict):
    """The playback to explain."""

    account_id: str
    profile_id: str | None
    item_id: str
    country: str | None
    address: str | None
    device_id: str | None
    device_kind: DeviceKind | None
    at: datetime | None


class PlayerReport(TypedDict):
    """What a player reports of its stream, whatever its state."""

    position_s: int
    duration_s: int | None
    at: datetime | None


class HeartbeatInput(PlayerReport):
    """What a player reports of its stream."""

    state: Literal["starting", "playing", "paused", "buffering", "seeking", "stopped", "ended"]
    interaction_at: datetime | None


class BeaconInput(PlayerReport):
    """The last report of a stream, with its playback token."""

    state: Literal["stopped", "ended"]
    grant: str


class ProgressInput(TypedDict):
    """How far a profile has watched an item."""

    position_s: int
    duration_s: int
    at: datetime
    restart: bool
    play_id: str | None


class DatedProgressInput(ProgressInput):
    """A report with the time of its sending by the player's clock."""

    sent_at: datetime | None


class ProgressReportInput(ProgressInput):
    """A report of one of several items."""

    item_id: str


class WatchlistEntryInput(TypedDict):
    """A title, and when somebody put it on a list of their own."""

    title_id: str
    added_at: datetime | None


class WatchlistBatchInput(TypedDict):
    """The titles of a list that was kept without an account."""

    items: list[WatchlistEntryInput]


class ProgressBatchInput(TypedDict):
    """Reports that a device collected while it was offline."""

    sent_at: datetime | None
    items: list[ProgressReportInput]


class TitleSetInput(TypedDict):
    """Titles by id, and genres and tags by code."""

    titles: list[str]
    genres: list[str]
    tags: list[str]


class ViewingHoursInput(TypedDict):
    """Hours of some days of the week: {days, start, end}, as `07:00`."""

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]]
    start: str
    end: str


class RestrictionsInput(TypedDict):
    """What a profile may see, and when it may play."""

    blocked: TitleSetInput
    allowed_only: TitleSetInput | None
    viewing_hours: list[ViewingHoursInput] | None


class PlaysInput(PageInput):
    """Which plays to list."""

    item_id: str | None
