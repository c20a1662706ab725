"""Request bodies of playback, as loaded by their schemas. A test compares each input with the schema that loads it."""

from datetime import datetime
from typing import Literal, TypedDict


class PlaybackInput(TypedDict):
    """What to play, on which device, and which stream to end for it."""

    item_id: str
    device_id: str | None
    max_height: int | None
    replace: str | None
    offline: bool


class ExplainInput(TypedDict):
    """The playback to explain."""

    account_id: str
    profile_id: str | None
    item_id: str
    country: str | None
    device_id: str | None
    device_kind: Literal["web", "phone", "tablet", "tv", "console", "other"] | None
    at: datetime | None


class HeartbeatInput(TypedDict):
    """What a player reports of its stream."""

    position_s: int
    state: Literal["starting", "playing", "paused", "buffering", "seeking", "stopped", "ended"]
    at: datetime


class ProgressInput(TypedDict):
    """How far a profile has watched an item."""

    position_s: int
    duration_s: int
    at: datetime
    restart: bool


class ProgressReportInput(ProgressInput):
    """A report of one of several items."""

    item_id: str


class ProgressBatchInput(TypedDict):
    """Reports that a device collected while it was offline."""

    items: list[ProgressReportInput]
