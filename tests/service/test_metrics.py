"""Prometheus metrics, if the operator has enabled them."""

from datetime import timedelta

import pytest

from streamsvc.models import Job
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.conftest import Clock
from tests.worlds.billing_world import World

PATH = "/metrics"


@pytest.fixture(scope="module")
def metrics_app(database, new_app):
    return new_app(database, "metrics", clock=Clock(), metrics=True)


def parse_samples(text):
    """The samples by name and labels: `{'streamsvc_streams': 0.0, …}`."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_metrics_are_off_by_default(client):
    assert client.get(PATH).json["code"] == "not_found"


def test_requests_are_counted_by_route_not_by_path(metrics_app):
    client = metrics_app.test_client()
    for path in ("/v1/catalog/titles/a", "/v1/catalog/titles/b", "/no/such", "/nor/this"):
        client.get(path)
    samples = parse_samples(client.get(PATH).text)
    by_route = 'streamsvc_request_seconds_count{method="GET",route="/v1/catalog/titles/<title_id>",status="401"}'
    assert samples[by_route] == 2
    assert samples['streamsvc_request_seconds_count{method="any",route="none",status="404"}'] == 2
    assert "/no/such" not in client.get(PATH).text


def test_overdue_jobs_are_reported(metrics_app):
    clock = metrics_app.extensions["clock"]
    with metrics_app.app_context():
        jobs.enqueue_job("nothing.known", {}, clock())
        db.session.commit()
    clock.advance(seconds=90)
    samples = parse_samples(metrics_app.test_client().get(PATH).text)
    assert (samples["streamsvc_jobs_due"], samples["streamsvc_jobs_late_seconds"]) == (1, 90)
    assert (samples["streamsvc_jobs_failed"], samples["streamsvc_streams"]) == (0, 0)


def test_jobs_are_reported_by_lane_and_kind(metrics_app):
    now = metrics_app.extensions["clock"]()
    past = now - timedelta(seconds=30)
    failed = [Job(kind=kind, payload={}, run_at=past, failed_at=now) for kind in ("a", "b", "b")]
    with metrics_app.app_context():
        db.session.add_all([*failed, Job(kind="c", lane="bulk", payload={}, run_at=past)])
        db.session.commit()
    samples = parse_samples(metrics_app.test_client().get(PATH).text)
    assert samples["streamsvc_jobs_failed"] == 3
    by_kind = [samples[f'streamsvc_kind_jobs_failed{{kind="{kind}"}}'] for kind in "ab"]
    due, late = (samples[f'streamsvc_lane_jobs_{name}{{lane="bulk"}}'] for name in ("due", "late_seconds"))
    assert (by_kind, due, late) == ([1, 2], 1, 30)
    assert samples['streamsvc_lane_jobs_due{lane="webhooks"}'] == 0


def test_money_is_counted_once_it_is_committed(database, new_app):
    world = World(new_app(database, "money_metrics", clock=Clock(), metrics=True))
    price = world.plan("p", 1000)

    def money():
        samples = parse_samples(world.app.test_client().get(PATH).text)
        prefixes = ("streamsvc_payments_total", "streamsvc_cash_in_minor_total", "streamsvc_cash_out_minor_total")
        return {name.removeprefix("streamsvc_"): value for name, value in samples.items() if name.startswith(prefixes)}

    ann = world.person()
    assert ann.post("/v1/invoice-previews", {"price_id": price}).status_code == 200
    assert money() == {}
    world.next_charge("decline")
    assert ann.subscribe(price).status_code == 402
    assert ann.subscribe(price).status_code == 201
    invoice = ann.get("/v1/invoices").json["items"][0]["id"]
    assert world.operator.post(f"/v1/admin/invoices/{invoice}/refunds", {"amount_minor": 400}).status_code == 201
    assert money() == {
        'payments_total{currency="USD",status="failed"}': 1,
        'payments_total{currency="USD",status="succeeded"}': 1,
        'cash_in_minor_total{currency="USD",kind="payment"}': 1000,
        'cash_out_minor_total{currency="USD",kind="refund"}': 400,
    }
