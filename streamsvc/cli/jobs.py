"""The jobs commands: list, show, retry, discard."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from flask.cli import with_appcontext

from streamsvc import clock
from streamsvc.models import Job
from streamsvc.operations.maintenance import failed_jobs
from streamsvc.operations.outbox import audit
from streamsvc.rules.inputs import FailedJobsFilter
from streamsvc.schemas.admin.failed_jobs import FailedJobOut
from streamsvc.storage.database import db, format_utc
from streamsvc.worker.jobs import THREADS_BY_LANE

PAGE_SIZE = 500
NOT_FOUND = "There is no failed job with this id."
MOMENT = click.DateTime(
    ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"]
)
"""A date, or a time such as `streamsvc jobs list` prints."""


@click.group()
def jobs() -> None:
    """Manage failed jobs. Over HTTP, this takes an admin; here, access to the machine."""


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that filter failed jobs; the command gets them as `filters`."""
    options = (
        click.option("--kind", help="Only jobs of this kind, such as mail.send."),
        click.option("--lane", type=click.Choice(list(THREADS_BY_LANE)), help="Only jobs of this lane."),
        click.option("--failed-since", type=MOMENT, metavar="TIME", help="Only jobs that failed since then, in UTC."),
        click.option("--failed-before", type=MOMENT, metavar="TIME", help="Only jobs that failed before, in UTC."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _build_filter(
    kind: str | None, lane: Any, failed_since: datetime | None, failed_before: datetime | None
) -> FailedJobsFilter:
    since, before = (moment and moment.replace(tzinfo=UTC) for moment in (failed_since, failed_before))
    return {"kind": kind, "lane": lane, "failed_since": since, "failed_before": before}


@jobs.command("list")
@_filters
@with_appcontext
def list_jobs(**options: Any) -> None:
    """List failed jobs, oldest first: id, kind, lane, when it failed, last error."""
    oldest = failed_jobs.select_failed_jobs(_build_filter(**options)).order_by(Job.id)
    for job in db.session.scalars(oldest.execution_options(yield_per=PAGE_SIZE)):
        click.echo(f"{job.id}  {job.kind:24} {job.lane:11} {format_utc(job.failed_at)}  {job.last_error}")


@jobs.command("show")
@click.argument("job_id")
@with_appcontext
def show_job(job_id: str) -> None:
    """Show a failed job as JSON. Members of its payload that may be secrets or private are hidden."""
    click.echo(json.dumps(FailedJobOut().dump(failed_jobs.failed_job_view(_find_job(job_id))), indent=2))


@jobs.command("retry")
@click.argument("job_id", required=False)
@_filters
@click.option("--reason", required=True, help="Why, for the audit log.")
@click.option("--dry-run", is_flag=True, help="Only count the jobs.")
@with_appcontext
def retry_jobs(job_id: str | None, reason: str, dry_run: bool, **options: Any) -> None:
    """Retry a failed job, or all that match the options."""
    filters = _build_filter(**options)
    if job_id is not None:
        _change_job(job_id, filters, dry_run, "retried", reason, lambda: failed_jobs.retry_job(job_id, clock.now()))
    else:
        retry = failed_jobs.retry_failed_jobs
        _change_jobs(filters, dry_run, "retried", lambda: retry(filters, reason, clock.now()))


@jobs.command("discard")
@click.argument("job_id", required=False)
@_filters
@click.option("--reason", required=True, help="Why, for the audit log.")
@click.option("--dry-run", is_flag=True, help="Only count the jobs.")
@with_appcontext
def discard_jobs(job_id: str | None, reason: str, dry_run: bool, **options: Any) -> None:
    """Discard a failed job, or all that match the options. They are deleted, and never run again."""
    filters = _build_filter(**options)
    if job_id is not None:
        _change_job(job_id, filters, dry_run, "discarded", reason, lambda: failed_jobs.discard_job(job_id))
    else:
        _change_jobs(filters, dry_run, "discarded", lambda: failed_jobs.discard_failed_jobs(filters, reason))


def _find_job(job_id: str) -> Job:
    job = failed_jobs.find_failed_job(job_id)
    if job is None:
        raise click.ClickException(NOT_FOUND)
    return job


def _change_job(
    job_id: str, filters: FailedJobsFilter, dry_run: bool, done: str, reason: str, change: Callable[[], bool]
) -> None:
    if any(filters.values()):
        raise click.UsageError("Give either an id or options that filter.")
    job = _find_job(job_id)
    if dry_run:
        click.echo(f"{job.id} {job.kind} would be {done}")
        return
    named = {"type": "job", "id": job.id}
    audit.record_event(f"jobs_{done}", jobs=1, reason=reason, object=named, kind=job.kind)
    if not change():  # somebody else has retried or discarded it meanwhile
        db.session.rollback()
        raise click.ClickException(NOT_FOUND)
    db.session.commit()
    click.echo(f"{job_id} {done}")


def _change_jobs(filters: FailedJobsFilter, dry_run: bool, done: str, change: Callable[[], int]) -> None:
    count = failed_jobs.count_failed_jobs(filters)
    if dry_run:
        click.echo(f"{_format_count(count)} would be {done}")
        return
    total = 0
    while total < count and (changed := change()):
        db.session.commit()
        total += changed
    db.session.rollback()
    click.echo(f"{_format_count(total)} {done}")


def _format_count(count: int) -> str:
    return f"{count:,} {'job' if count == 1 else 'jobs'}"
