"""Query parameters of lists, as loaded by their schemas. A test compares each input with the schema that loads it."""

from datetime import datetime
from typing import Literal, TypedDict

from streamsvc.rules.jobs import Lane
from streamsvc.rules.webhooks import DeliveryStatus, EventKind

TotalRelation = Literal["exact", "at_least"]
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
    """The email address of the account to find; None lists all."""

    email: str | None


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
