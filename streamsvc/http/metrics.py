"""Prometheus metrics for GET /metrics: request times, money, and the state of jobs, streams and subscriptions.

Requests are counted by route, not by path, so that arbitrary paths create no new series. All processes write their
counts to files in one folder, set by `streamsvc serve` or gunicorn_conf.py; the one that serves /metrics adds them up.
"""

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import sqlalchemy as sa
from flask import Flask, Response, current_app, g, request

from streamsvc import clock
from streamsvc.gateways.peers import call_finished
from streamsvc.models import Job, Stream, WebhookDelivery
from streamsvc.models.subscriptions import StoreSubscription, Subscription
from streamsvc.models.subscriptions.ledger import cash_moved
from streamsvc.models.subscriptions.payments import payment_finished
from streamsvc.rules.jobs import Lane
from streamsvc.rules.stores.state import PRODUCTION
from streamsvc.settings import Settings, current_settings
from streamsvc.storage.database import fetch_all, fetch_existing, is_unavailable
from streamsvc.storage.replica import find_replica, read_finished

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Metric

MULTIPROC_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
IS_OPEN = sa.and_(Job.done_at.is_(None), Job.failed_at.is_(None))
NOW = sa.bindparam("now", type_=Job.run_at.type)
JOBS_DUE = (
    sa.select(Job.lane, sa.func.count(), sa.func.min(Job.run_at)).where(IS_OPEN, Job.run_at <= NOW).group_by(Job.lane)
)
FAILED_JOBS = sa.select(Job.kind, sa.func.count()).where(Job.failed_at.is_not(None)).group_by(Job.kind)
FAILED_DELIVERY_COUNT = (
    sa.select(sa.func.count()).select_from(WebhookDelivery).where(sa.text("webhook_deliveries.status = 'failed'"))
)
STREAM_COUNT = sa.select(sa.func.count()).select_from(Stream).where(Stream.ended_at.is_(None), Stream.expires_at > NOW)
OWN_SUBSCRIPTION_COUNTS = sa.select(Subscription.source, Subscription.status, sa.func.count()).group_by(
    Subscription.source, Subscription.status
)
STORE_SUBSCRIPTION_COUNTS = (
    sa.select(StoreSubscription.source, StoreSubscription.status, sa.func.count())
    .where(StoreSubscription.environment == PRODUCTION)
    .group_by(StoreSubscription.source, StoreSubscription.status)
)


def init_app(app: Flask) -> None:
    """Time every request, and count the calls to other services, from here on."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = app.extensions["metrics"] = CollectorRegistry()
    duration = Histogram(
        "streamsvc_request_seconds",
        "Request duration by method, route and status.",
        ("method", "route", "status"),
        buckets=BUCKETS_S,
        registry=registry,
    )

    visits = Counter(
        "streamsvc_catalog_visitor_reads",
        "Reads of the public catalogue without a token, by status.",
        ("status",),
        registry=registry,
    )
    calls = Counter("streamsvc_calls", "Calls to other services by outcome.", ("peer", "outcome"), registry=registry)

    def count_call(peer: str, outcome: str) -> None:
        calls.labels(peer, outcome).inc()

    call_finished.connect(count_call, weak=False)
    count_money(registry)
    if "replica" in app.extensions:
        reads = Counter("streamsvc_replica_reads", "Reads for the replica by server.", ("server",), registry=registry)

        def count_read(_: object, server: str) -> None:
            reads.labels(server).inc()

        read_finished.connect(count_read, weak=False)

    app.extensions["request_timers"] = cache(duration.labels)
    app.before_request(start_timer)
    app.after_request(observe_request)

    app.extensions["visitor_reads"] = visits


def count_money(registry: "CollectorRegistry") -> None:
    """Count committed payments and movements of cash, by the process that commits them."""
    from prometheus_client import Counter

    payments = Counter(
        "streamsvc_payments", "Payments that succeeded or failed.", ("status", "currency"), registry=registry
    )
    cash_in = Counter(
        "streamsvc_cash_in_minor", "Cash received, in minor units.", ("kind", "currency"), registry=registry
    )
    cash_out = Counter(
        "streamsvc_cash_out_minor", "Cash paid out, in minor units.", ("kind", "currency"), registry=registry
    )

    def count_payment(_: object, status: str, currency: str) -> None:
        payments.labels(status, currency).inc()

    def count_cash(_: object, kind: str, currency: str, amount_minor: int) -> None:
        (cash_in if amount_minor > 0 else cash_out).labels(kind, currency).inc(abs(amount_minor))

    payment_finished.connect(count_payment, weak=False)
    cash_moved.connect(count_cash, weak=False)


def start_timer() -> None:
    """Note when the current request began."""
    g.started_at = time.perf_counter()


def observe_request(response: Response) -> Response:
    """Count the current request, and how long it took."""
    route = request.url_rule.rule if request.url_rule else "none"
    observe_duration(
        current_app, request.method if request.url_rule else "any", route, response.status_code, g.started_at
    )
    if g.get("is_catalog_visitor"):
        visits: Counter = current_app.extensions["visitor_reads"]
        visits.labels(response.status_code).inc()
    return response


def observe_duration(app: Flask, method: str, route: str, status: int, started: float) -> None:
    """Count a request, and how long it took. `started`: by `time.perf_counter`."""
    app.extensions["request_timers"](method, route, status).observe(time.perf_counter() - started)


def render_metrics() -> bytes:
    """Render all metrics in Prometheus's text format."""
    from prometheus_client import CollectorRegistry, generate_latest, multiprocess

    requests = current_app.extensions["metrics"]
    if MULTIPROC_DIR_VARIABLE in os.environ:
        requests = CollectorRegistry()
        multiprocess.MultiProcessCollector(requests)
    database_metrics = CollectorRegistry()
    database_metrics.register(DatabaseCollector())
    return generate_latest(requests) + generate_latest(database_metrics)


class DatabaseCollector:
    """Gauges that are read from the database on each scrape; while it is unavailable, only that it is."""

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        try:
            metrics = list(self._read_database())
        except sa.exc.SQLAlchemyError as error:
            if not is_unavailable(error):
                raise
            metrics = []
        is_up = float(bool(metrics))
        yield GaugeMetricFamily("streamsvc_database_up", "Whether the database could be read.", is_up)
        yield from metrics
        if replica := find_replica():
            yield GaugeMetricFamily("streamsvc_replica_up", "Whether the replica is read.", float(replica.is_usable()))
            yield GaugeMetricFamily("streamsvc_replica_lag_seconds", "How far the replica may lag.", replica.lag_s)

    @staticmethod
    def _read_database() -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        now = clock.now()
        lanes = fetch_all(JOBS_DUE, {"now": now})
        due = {lane: (count, (now - oldest).total_seconds()) for lane, count, oldest in lanes}
        count, late = sum(count for count, _ in due.values()), max((late for _, late in due.values()), default=0)
        yield GaugeMetricFamily("streamsvc_jobs_due", "Jobs that are due and not yet done.", count)
        yield GaugeMetricFamily("streamsvc_jobs_late_seconds", "How long the oldest due job has been due.", late)
        by_lane = GaugeMetricFamily("streamsvc_lane_jobs_due", "Due jobs by lane.", labels=["lane"])
        late_by_lane = GaugeMetricFamily(
            "streamsvc_lane_jobs_late_seconds", "How long the oldest due job of a lane has been due.", labels=["lane"]
        )
        for lane in get_args(Lane):
            by_lane.add_metric([lane], due.get(lane, (0, 0))[0])
            late_by_lane.add_metric([lane], due.get(lane, (0, 0))[1])
        yield from (by_lane, late_by_lane)
        failed = dict(fetch_all(FAILED_JOBS))
        yield GaugeMetricFamily(
            "streamsvc_jobs_failed", "Jobs that failed on their last attempt.", sum(failed.values())
        )
        by_kind = GaugeMetricFamily("streamsvc_kind_jobs_failed", "Failed jobs by kind.", labels=["kind"])
        for kind, count in failed.items():
            by_kind.add_metric([kind], count)
        yield by_kind
        yield GaugeMetricFamily(
            "streamsvc_webhook_deliveries_failed",
            "Webhook deliveries that were given up.",
            fetch_existing(FAILED_DELIVERY_COUNT)[0],
        )
        yield GaugeMetricFamily("streamsvc_streams", "Active streams.", fetch_existing(STREAM_COUNT, {"now": now})[0])
        by_status = GaugeMetricFamily("streamsvc_subscriptions", "Subscriptions by status.", labels=["status"])
        by_source = GaugeMetricFamily(
            "streamsvc_source_subscriptions", "Subscriptions by source and status.", labels=["source", "status"]
        )
        counts = count_subscriptions()
        for status, count in sum_by_status(counts).items():
            by_status.add_metric([status], count)
        for source, statuses in counts.items():
            for status, count in statuses.items():
                by_source.add_metric([source, status], count)
        yield from (by_status, by_source)


def count_subscriptions() -> dict[str, dict[str, int]]:
    """Count the subscriptions by source and status. Test purchases in app stores do not count."""
    counts: dict[str, dict[str, int]] = {}
    for statement in (OWN_SUBSCRIPTION_COUNTS, STORE_SUBSCRIPTION_COUNTS):
        for source, status, count in fetch_all(statement):
            statuses = counts.setdefault(source or current_settings().payment_provider, {})
            statuses[status] = statuses.get(status, 0) + count  # those from before sources were stored have none
    return counts


def sum_by_status(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    """Return the sums over all sources."""
    totals: dict[str, int] = {}
    for statuses in counts.values():
        for status, count in statuses.items():
            totals[status] = totals.get(status, 0) + count
    return totals


def use_metrics_folder(settings: Settings) -> str:
    """Have the processes that start from now on write their counts to a folder; returns it."""
    folder = os.environ[MULTIPROC_DIR_VARIABLE] = str(Path(settings.data_dir).resolve() / "metrics")
    return folder


def reset_metrics_folder(folder: str) -> None:
    """Create the folder for the processes' counts, without the files of an earlier run."""
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        if name.endswith(".db"):
            os.unlink(os.path.join(folder, name))


def remove_process(pid: int) -> None:
    """Drop the gauges of a web process that has ended."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(pid)
