"""Failed jobs (dead letters): what the last attempt left, to be retried or discarded by an operator."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from streamsvc.models import Job
from streamsvc.operations.outbox import audit, webhooks
from streamsvc.rules.inputs import FailedJobsFilter
from streamsvc.rules.jobs import mask_payload
from streamsvc.storage.database import db, execute_in_session, fetch_existing
from streamsvc.worker import jobs

MAX_JOBS_PER_CALL = 1_000
"""Jobs that one call retries or discards: as many as SQLite's single writer changes in a few milliseconds."""
IS_FAILED = Job.failed_at.is_not(None)
JOB_FAILED = "job.failed"


@jobs.job_failed.connect
def publish_job_failed(job: sa.Row, failed_at: datetime) -> None:
    """Publish that a job has failed, in the transaction that marks it so.

    The failure of a delivery is listed only: its own delivery would fail for the same reason, and so on without end.
    """
    data = {"job_id": job.id, "kind": job.kind, "lane": job.lane, "attempts": job.attempts}
    publish = webhooks.record_undelivered_event if job.kind == webhooks.DELIVERY_JOB else webhooks.publish_event
    publish(JOB_FAILED, None, failed_at, **data)


def select_failed_jobs(filters: FailedJobsFilter) -> sa.Select[Any]:
    """Return the statement that selects the failed jobs that the filters leave."""
    statement = sa.select(Job).where(IS_FAILED)
    if filters["kind"]:
        statement = statement.where(Job.kind == filters["kind"])
    if filters["lane"]:
        statement = statement.where(Job.lane == filters["lane"])
    if filters["failed_since"]:
        statement = statement.where(Job.failed_at >= filters["failed_since"])
    if filters["failed_before"]:
        statement = statement.where(Job.failed_at < filters["failed_before"])
    return statement


def find_failed_job(job_id: str) -> Job | None:
    """Find a failed job; None if there is none, also if it was retried in the meantime."""
    return db.session.scalar(sa.select(Job).where(Job.id == job_id, IS_FAILED))


def count_failed_jobs(filters: FailedJobsFilter) -> int:
    return fetch_existing(select_failed_jobs(filters).with_only_columns(sa.func.count()))[0]


def count_failed_jobs_by_kind() -> dict[str, int]:
    counts = sa.select(Job.kind, sa.func.count()).where(IS_FAILED).group_by(Job.kind).order_by(Job.kind)
    return {kind: count for kind, count in db.session.execute(counts)}


def retry_job(job_id: str, now: datetime) -> bool:
    """Run a failed job again with all its attempts, in the caller's transaction; False if it has not failed."""
    return _retry_jobs([job_id], now) == 1


def discard_job(job_id: str) -> bool:
    """Delete a failed job, in the caller's transaction; False if it has not failed."""
    return _discard_jobs([job_id]) == 1


def retry_failed_jobs(filters: FailedJobsFilter, reason: str, now: datetime) -> int:
    """Retry the oldest failed jobs that the filters leave, up to `MAX_JOBS_PER_CALL`; returns how many.

    In the caller's transaction.
    """
    count = _retry_jobs(_list_oldest_ids(filters), now)
    audit.record_event("jobs_retried", jobs=count, reason=reason, filters=_filters_view(filters))
    return count


def discard_failed_jobs(filters: FailedJobsFilter, reason: str) -> int:
    """Delete the oldest failed jobs that the filters leave, up to `MAX_JOBS_PER_CALL`; returns how many.

    In the caller's transaction.
    """
    count = _discard_jobs(_list_oldest_ids(filters))
    audit.record_event("jobs_discarded", jobs=count, reason=reason, filters=_filters_view(filters))
    return count


def _list_oldest_ids(filters: FailedJobsFilter) -> list[str]:
    oldest = select_failed_jobs(filters).with_only_columns(Job.id).order_by(Job.id).limit(MAX_JOBS_PER_CALL)
    return list(db.session.scalars(oldest))


def _retry_jobs(ids: list[str], now: datetime) -> int:
    values = {"failed_at": None, "attempts": 0, "run_at": now, "lease": None, "leased_until": None}
    return execute_in_session(sa.update(Job).where(Job.id.in_(ids), IS_FAILED).values(values))


def _discard_jobs(ids: list[str]) -> int:
    return execute_in_session(sa.delete(Job).where(Job.id.in_(ids), IS_FAILED))


def _filters_view(filters: FailedJobsFilter) -> dict[str, str]:
    names = ("kind", "lane", "failed_since", "failed_before")
    return {name: str(value) for name, value in filters.items() if name in names and value is not None}


def failed_job_view(job: Job) -> dict[str, Any]:
    """Return the JSON of `FailedJobOut`."""
    names = ("id", "kind", "lane", "attempts", "last_error", "run_at", "failed_at")
    return {name: getattr(job, name) for name in names} | {"payload": mask_payload(job.payload)}
