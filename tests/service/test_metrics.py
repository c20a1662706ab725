"""What Prometheus reads, where an operator lets it."""

import pytest

from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.conftest import Clock

PATH = "/metrics"


@pytest.fixture(scope="module")
def measured(database, new_app):
    return new_app(database, "metrics", clock=Clock(), metrics=True)


def values(text):
    """The samples by name and labels: `{'streamsvc_streams': 0.0, …}`."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_nobody_reads_them_unless_an_operator_opened_them(client):
    assert client.get(PATH).json["code"] == "not_found"


def test_requests_are_told_by_route_and_not_by_path(measured):
    client = measured.test_client()
    for path in ("/v1/catalog/titles/a", "/v1/catalog/titles/b", "/no/such", "/nor/this"):
        client.get(path)
    told = values(client.get(PATH).text)
    by_route = 'streamsvc_request_seconds_count{method="GET",route="/v1/catalog/titles/<title_id>",status="401"}'
    assert told[by_route] == 2
    assert told['streamsvc_request_seconds_count{method="any",route="none",status="404"}'] == 2
    assert "/no/such" not in client.get(PATH).text


def test_work_that_is_late_shows(measured):
    clock = measured.extensions["clock"]
    with measured.app_context():
        jobs.enqueue_job("nothing.known", {}, clock())
        db.session.commit()
    clock.advance(seconds=90)
    told = values(measured.test_client().get(PATH).text)
    assert (told["streamsvc_jobs_due"], told["streamsvc_jobs_late_seconds"]) == (1, 90)
    assert (told["streamsvc_jobs_failed"], told["streamsvc_streams"]) == (0, 0)
