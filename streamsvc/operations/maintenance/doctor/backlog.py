"""Checks of work that waits: jobs, webhooks, payments, and the worker."""

from datetime import timedelta

import sqlalchemy as sa

from streamsvc import clock
from streamsvc.models import Job, WebhookDelivery, WebhookEndpoint
from streamsvc.models.subscriptions import Payment, Subscription
from streamsvc.operations.maintenance.doctor.findings import (
    ERROR,
    OK,
    WARNING,
    Finding,
    count_finding,
    count_rows,
    doctor_check,
)
from streamsvc.operations.maintenance.worker_loop import is_worker_alive
from streamsvc.rules.clock_trust import format_span
from streamsvc.storage.database import fetch_existing
from streamsvc.worker.jobs import IS_OPEN
from streamsvc.worker.restore_hold import refresh_restore_hold

LATE_AFTER, VERY_LATE_AFTER = timedelta(minutes=5), timedelta(hours=1)
UNKNOWN_AFTER = timedelta(minutes=10)
FAILING_SINCE = timedelta(days=1)


@doctor_check("worker")
def check_worker() -> Finding:
    """Check that a worker sends heartbeats."""
    if is_worker_alive():
        return Finding(OK, "a worker is alive")
    return Finding(ERROR, "no worker is alive", "Start `streamsvc worker`, or `streamsvc serve` without --no-worker.")


@doctor_check("late jobs")
def check_late_jobs() -> Finding:
    """Check that jobs run when they are due."""
    now = clock.now()
    late = sa.select(sa.func.count(), sa.func.min(Job.run_at)).where(IS_OPEN, Job.run_at < now - LATE_AFTER)
    count, oldest = fetch_existing(late)
    if not count:
        return Finding(OK, "no job is late")
    status = ERROR if oldest < now - VERY_LATE_AFTER else WARNING
    advice = "Make sure that a worker is running, and read its log; `streamsvc worker --once` runs what is due."
    return Finding(status, f"{count:,} late, the oldest by {format_span(now - oldest)}", advice)


@doctor_check("failed jobs")
def check_failed_jobs() -> Finding:
    """Check that no job has failed on its last attempt."""
    failed = sa.select(Job.kind, Job.id).where(Job.failed_at.is_not(None)).order_by(Job.failed_at.desc())
    advice = "See `streamsvc jobs list`, correct the cause, then `streamsvc jobs retry` or `discard` them."
    return count_finding(count_rows(failed), "no job has failed for good", "failed for good", advice, WARNING)


@doctor_check("webhooks")
def check_webhooks() -> Finding:
    """Check that each webhook endpoint accepts deliveries."""
    since = clock.now() - FAILING_SINCE
    failing = sa.select(WebhookEndpoint.url).join(WebhookDelivery, WebhookDelivery.endpoint_id == WebhookEndpoint.id)
    failing = failing.where(WebhookDelivery.status == "failed", WebhookDelivery.created_at > since)
    failing = failing.where(WebhookEndpoint.removed_at.is_(None), WebhookEndpoint.disabled_at.is_(None)).distinct()
    advice = "Fix the receiver, or delete the endpoint; `POST /v1/admin/webhook-redeliveries` sends what it missed."
    healthy, what = "no delivery failed within a day", "with failed deliveries"
    return count_finding(count_rows(failing), healthy, what, advice, WARNING)


@doctor_check("payments")
def check_payments() -> Finding:
    """Check that the outcome of each payment is known."""
    is_old = Payment.created_at < clock.now() - UNKNOWN_AFTER
    unknown = sa.select(Payment.id).where(Payment.status.in_(("pending", "unknown")), is_old)
    advice = "Make sure that the payment provider can be reached; `streamsvc billing audit --provider` compares each."
    healthy, what = "the outcome of every payment is known", "without a known outcome"
    return count_finding(count_rows(unknown), healthy, what, advice)


@doctor_check("restore")
def check_restore() -> Finding:
    """Check that a restored database is reconciled with the payment provider."""
    if reason := refresh_restore_hold():
        advice = "List what happened since the backup with `streamsvc billing reconcile`, then release the hold."
        return Finding(WARNING, f"nobody is charged: {reason}", advice)
    return Finding(OK, "no restore waits for reconciliation")


@doctor_check("billing holds")
def check_billing_holds() -> Finding:
    """Check that no subscription waits for an operator."""
    held = sa.select(Subscription.id).where(Subscription.billing_held_at.is_not(None))
    advice = "Correct the books of each and release it."
    return count_finding(count_rows(held), "no subscription is on billing hold", "on hold", advice, WARNING)
