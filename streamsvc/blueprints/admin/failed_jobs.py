"""Failed jobs: list, inspect, retry, discard."""

from collections.abc import Callable
from typing import Any

from streamsvc import clock
from streamsvc.blueprints.admin.audited_resources import FAILED_JOBS, JOB
from streamsvc.http.edge import Blueprint
from streamsvc.http.idempotency import idempotent
from streamsvc.http.pagination import paginate_query
from streamsvc.models import Job
from streamsvc.operations.maintenance import failed_jobs
from streamsvc.operations.outbox.audited_changes import audited
from streamsvc.rules.inputs import FailedJobsInput, FailedJobsSelection
from streamsvc.rules.refusals.requests import NotFound
from streamsvc.schemas.admin.failed_jobs import (
    FailedJobChange,
    FailedJobOut,
    FailedJobQuery,
    FailedJobSelection,
    JobOut,
)
from streamsvc.schemas.base import page_of
from streamsvc.security.access import operator_only
from streamsvc.storage.database import db

bp = Blueprint(
    "admin failed jobs",
    __name__,
    url_prefix="/v1/admin",
    description="Jobs of the worker whose last attempt has failed (dead letters).",
)


@bp.route("/failed-jobs")
@bp.arguments(FailedJobQuery, location="query")
@operator_only("admin")
@bp.response(200, page_of(FailedJobOut))
def list_failed_jobs(query: FailedJobsInput) -> dict:
    """List failed jobs, newest first.

    Filter by `kind`, by `lane`, and by when the last attempt failed.
    """
    page = paginate_query(failed_jobs.select_failed_jobs(query), Job.id, query, "failed jobs")
    return page | {"items": [failed_jobs.failed_job_view(job) for job in page["items"]]}


@bp.route("/failed-jobs/<job_id>")
@operator_only("admin")
@bp.response(200, FailedJobOut)
def get_failed_job(job_id: str) -> dict:
    """Retrieve a failed job."""
    job = failed_jobs.find_failed_job(job_id)
    if job is None:
        raise NotFound
    return failed_jobs.failed_job_view(job)


@bp.route("/failed-jobs/<job_id>/retry", methods=["POST"])
@operator_only("admin")
@idempotent()
@bp.response(202, JobOut)
@audited(JOB, "job_id")
def retry_failed_job(job_id: str) -> Job:
    """Retry a failed job.

    It runs again as soon as a worker is free, with as many attempts as a new one.
    """
    if not failed_jobs.retry_job(job_id, clock.now()):
        raise NotFound
    return db.session.get_one(Job, job_id)


@bp.route("/failed-jobs/<job_id>", methods=["DELETE"])
@operator_only("admin")
@bp.response(204)
@audited(JOB, "job_id")
def discard_failed_job(job_id: str) -> None:
    """Discard a failed job.

    It is deleted, and never runs again.
    """
    if not failed_jobs.discard_job(job_id):
        raise NotFound
    db.session.commit()


@bp.route("/job-retries", methods=["POST"])
@bp.arguments(FailedJobSelection)
@operator_only("admin")
@idempotent()
@bp.response(201, FailedJobChange)
@bp.alt_response(200, schema=FailedJobChange(), description="With `dry_run`: how many jobs would be retried.")
@audited(FAILED_JOBS, None, "jobs_retried")
def create_job_retry(body: FailedJobsSelection) -> Any:
    """Retry all failed jobs that match.

    Filter by `kind`, by `lane`, and by when they failed; without a filter, all match. A request retries the oldest
    1,000; repeat it while there are `remaining` ones. `dry_run` only counts.
    """
    return _change_jobs(body, lambda: failed_jobs.retry_failed_jobs(body, body["reason"], clock.now()))


@bp.route("/job-discards", methods=["POST"])
@bp.arguments(FailedJobSelection)
@operator_only("admin")
@idempotent()
@bp.response(201, FailedJobChange)
@bp.alt_response(200, schema=FailedJobChange(), description="With `dry_run`: how many jobs would be discarded.")
@audited(FAILED_JOBS, None, "jobs_discarded")
def create_job_discard(body: FailedJobsSelection) -> Any:
    """Discard all failed jobs that match.

    They are deleted, and never run again. Filter by `kind`, by `lane`, and by when they failed; without a filter, all
    match. A request discards the oldest 1,000; repeat it while there are `remaining` ones. `dry_run` only counts.
    """
    return _change_jobs(body, lambda: failed_jobs.discard_failed_jobs(body, body["reason"]))


def _change_jobs(body: FailedJobsSelection, change: Callable[[], int]) -> Any:
    matching = failed_jobs.count_failed_jobs(body)
    if body["dry_run"]:
        count = min(matching, failed_jobs.MAX_JOBS_PER_CALL)
        return {"jobs": count, "remaining": matching - count, "dry_run": True}, 200
    count = change()
    return {"jobs": count, "remaining": max(0, matching - count), "dry_run": False}
