"""Query parameters of lists, as loaded by their schemas. A test compares each input with the schema that loads it."""

from datetime import datetime
from typing import Literal, TypedDict, get_args

from streamsvc.rules.jobs import Lane
from streamsvc.rules.webhooks import DeliveryStatus, EventKind

TotalRelation = Literal["exact", "at_least"]
TimelineKind = Literal["audit", "sign_in", "device", "play", "mail", "invoice", "payment", "credit_note", "event"]
TIMELINE_KINDS: tuple[TimelineKind, ...] = get_args(TimelineKind)
DeviceKind = Literal["web", "phone", "tablet", "tv", "console", "other"]


class PageInput(TypedDict):
    """Which page of a list to return."""

    limit: int
    cursor: str | None
    include_total: bool


class ShortListInput(TypedDict):
    """Which page of a short list to return; without a limit, the whole list."""

    limit: int | None
    cursor: str | None
    include_total: bool


class EmailsInput(PageInput):
    """The recipient whose emails to list; None lists all."""

    to: str | None


class AccountsInput(PageInput):
    """What to find accounts by: the email address, or any clue; None lists all."""

    email: str | None
    q: str | None


class TimelineInput(PageInput):
    """Which entries of an account's timeline to list; None lists all."""

    kind: TimelineKind | None


class AuditInput(PageInput):
    """Which audit events to list."""

    account_id: str | None
    action: str | None
    object_id: str | None
    object_type: str | None


class EventsInput(PageInput):
    """Which events to list."""

    account_id: str | None
    kind: EventKind | None


class DeliveriesInput(PageInput):
    """Which webhook deliveries to list; None lists all."""

    endpoint_id: str | None
    status: DeliveryStatus | None


class FailedJobsFilter(TypedDict):
    """Which failed jobs; None leaves all."""

    kind: str | None
    lane: Lane | None
    failed_since: datetime | None
    failed_before: datetime | None


class FailedJobsInput(PageInput, FailedJobsFilter):
    """Which failed jobs to list."""


class FailedJobsSelection(FailedJobsFilter):
    """Which failed jobs to change, and why."""

    reason: str
    dry_run: bool
