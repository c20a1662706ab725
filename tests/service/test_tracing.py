"""OpenTelemetry traces of a running service: complete, continued from and to others, and without a secret."""

import pytest
import sqlalchemy as sa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from werkzeug.test import Client

from streamsvc import tracing
from streamsvc.http.request_spans import TracingMiddleware
from streamsvc.storage.database import db
from tests.conftest import migrate_database
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.service import running_service, wait_until

pytestmark = pytest.mark.either_database
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EMAIL, PASSWORD, SEARCHED = "ann@tv.test", "seven red herons", "a-title-that-nobody-may-know"


class Collector:
    """What an OpenTelemetry collector receives over HTTP."""

    def __init__(self):
        self.bodies, self.spans = [], []

    def receive(self, body):
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                self.spans += of_scope.spans

    def find(self, name, **attributes):
        """The spans with this name and these attributes, once there is one."""
        return wait_until(
            lambda: [s for s in self.spans if s.name == name and attributes.items() <= read_attributes(s).items()]
        )


def read_attributes(span):
    return {
        pair.key.replace(".", "_"): pair.value.string_value or pair.value.int_value or pair.value.bool_value
        for pair in span.attributes
    }


@pytest.fixture
def collector():
    """(URL, Collector)."""
    collector = Collector()

    class Handler(LocalHandler):
        def do_POST(self):
            collector.receive(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with local_server(Handler) as server:
        yield server.url, collector


@pytest.fixture
def service(database, new_database, tmp_path, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector[0])
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    url = new_database(database, "traced", migrate_database)
    with running_service(url, tmp_path, STREAMSVC_TRACING="1", STREAMSVC_WORKERS="1") as service:
        yield service


def test_a_request_is_a_span_of_its_callers_trace_with_its_statements(service, collector):
    _, collector = collector
    account = {"email": EMAIL, "password": PASSWORD, "country": "DE"}
    status, document = service.call("POST", "/v1/accounts", account, Idempotency_Key="secret-key-1")
    assert status == 201, document
    traceparent = f"00-{TRACE_ID}-{SPAN_ID}-01"
    token = document["token"]
    assert service.call("GET", "/v1/sessions/current", token=token, traceparent=traceparent)[0] == 200
    service.call("GET", f"/v1/catalog/search?q={SEARCHED}", token=token)
    service.call("GET", f"/v1/catalog/titles/{SEARCHED}", token=token)
    service.call("POST", "/v1/accounts", account, Idempotency_Key="secret-key-2")

    [read] = collector.find("GET /v1/sessions/current", http_response_status_code=200)
    assert (read.trace_id.hex(), read.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert len(read_attributes(read)["streamsvc_account"]) == 16
    children = [span for span in collector.spans if span.parent_span_id == read.span_id]
    assert any("FROM sessions" in read_attributes(span)["db_query_text"] for span in children), children
    [sign_up, *_] = collector.find("POST /v1/accounts", http_response_status_code=201)
    statements = [span for span in collector.spans if span.trace_id == sign_up.trace_id and span is not sign_up]
    texts = [read_attributes(span)["db_query_text"] for span in statements if "db_query_text" in read_attributes(span)]
    assert any("INSERT INTO accounts" in text for text in texts), texts
    assert collector.find("GET /v1/catalog/titles/<title_id>", http_response_status_code=404)
    assert wait_until(lambda: [span for span in collector.spans if span.name.startswith("job ")])

    received = b"".join(collector.bodies)
    for secret in (EMAIL, PASSWORD, token, SEARCHED, "secret-key"):
        assert secret.encode() not in received


@pytest.fixture
def memory(monkeypatch):
    """An exporter that keeps the finished spans of this process."""
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    return memory


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("status", "outcome"),
    [("200 OK", StatusCode.UNSET), ("404 NOT FOUND", StatusCode.UNSET), ("503 X", StatusCode.ERROR)],
)
def test_services_that_we_call_continue_the_trace_from_the_requests_span(memory, status, outcome):
    seen = []

    def app(environ, start_response):
        seen.append(environ["HTTP_TRACEPARENT"])
        start_response(status, [])
        return [b""]

    headers = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}
    assert Client(TracingMiddleware(app)).get("/", headers=headers).status == status
    [span] = memory.get_finished_spans()
    assert seen == [f"00-{TRACE_ID}-{span.context.span_id:016x}-01"]
    assert (span.parent.span_id, span.status.status_code) == (int(SPAN_ID, 16), outcome)


def test_a_failure_is_marked_and_its_text_is_not_exported(memory, database, new_app):
    app = new_app(database, "traced_failure", tracing=True)
    insert = sa.text("INSERT INTO operators (id, email, email_key, role) VALUES ('o', :email, :email, NULL)")
    with app.app_context(), pytest.raises(sa.exc.IntegrityError), tracing.open_span("job x"):
        db.session.execute(insert, {"email": EMAIL})
    statement, job = memory.get_finished_spans()[-2:]
    assert (statement.name, job.name, statement.parent.span_id) == ("INSERT", "job x", job.context.span_id)
    for span in (statement, job):
        assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())
    assert EMAIL not in "".join(span.to_json() for span in memory.get_finished_spans())
