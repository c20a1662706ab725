"""`streamsvc serve` as an operator runs it: real processes over TCP, with processes that die.

`make test` runs it on PostgreSQL; test_wire.py and test_wheel.py serve on SQLite.
"""

import json
import os
import re
import signal
import socket
import time
from urllib.request import Request, urlopen

import psutil
import pytest

from tests.conftest import migrate_database
from tests.worlds.service import TIMEOUT_S, Service, running_service, wait_until
from tests.worlds.wire import exchange

pytestmark = pytest.mark.either_database


@pytest.fixture(scope="module", params=["gunicorn", "granian"])
def server(request):
    return request.param


@pytest.fixture(scope="module")
def service(database, server, new_database, tmp_path_factory):
    url, folder = new_database(database, "served", migrate_database), tmp_path_factory.mktemp("served")
    with running_service(url, folder, STREAMSVC_METRICS="1", STREAMSVC_SERVER=server) as running:
        yield running


def test_serve_requires_a_migrated_database(database, new_database, tmp_path):
    result = Service(new_database(database, "unmigrated"), tmp_path).command("serve")
    assert result.returncode == 1
    assert "streamsvc db upgrade" in result.stderr


def test_an_invalid_setting_is_reported_in_one_sentence(tmp_path):
    service = Service("sqlite:///x", tmp_path)
    service.env["STREAMSVC_WORKERS"] = "many"
    result = service.command("serve")
    assert result.returncode == 1
    assert result.stderr.strip().splitlines() == [
        "streamsvc cannot start: STREAMSVC_WORKERS: must be a whole number from 1 to 64"
    ]


def test_granian_without_its_extra_is_reported_in_one_sentence(tmp_path):
    service = Service("sqlite:///x", tmp_path)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['granian'] = None\n")
    service.env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{service.env.get('PYTHONPATH', '')}"
    service.env["STREAMSVC_SERVER"] = "granian"
    result = service.command("serve")
    assert result.returncode == 1
    assert result.stderr.strip().splitlines() == [
        "streamsvc cannot start: STREAMSVC_SERVER: needs the extra `granian`: pip install 'streamsvc[granian]'"
    ]


def test_a_start_logs_lines_and_no_error(service, server):
    log = service.log.read_text()
    assert "Traceback" not in log
    assert server == "granian" or re.search(r"\[\d+\] \[INFO\] Booting worker with pid: \d+", log), log


def test_web_processes_on_gunicorn_share_what_they_import(service, server):
    if server == "granian":
        pytest.skip("its processes import the app each by itself")
    for web in service.children("gunicorn")[1:]:
        memory = web.memory_full_info()
        assert memory.uss < 0.6 * memory.rss


def test_web_processes_and_the_worker_are_replaced_when_killed(service, server):
    for word in (server, "worker"):
        before = {p.pid for p in service.children(word)}
        victim = max(before)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda word=word, before=before, victim=victim: is_replaced(service.children(word), before, victim))
    wait_until(service.is_ready)


def is_replaced(processes, before, victim):
    now = {process.pid for process in processes}
    return victim not in now and len(now) == len(before)


ACCOUNT = {"password": "a long secret 7", "country": "DE", "time_zone": "Europe/Berlin", "locale": "de"}
LIVEZ = 'streamsvc_request_seconds_count{method="GET",route="/livez",status="200"}'
UNREADABLE = {
    414: b"GET /livez?" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    431: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 9000 + b"\r\n\r\n",
    400: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Odd: \x7f\x01\r\n\r\n",
}
CODES = {414: "request_uri_too_long", 431: "request_header_fields_too_large", 400: "bad_request"}


def test_requests_that_never_reach_the_app_get_a_problem_document(service, server):
    """On Granian, only those that hyper can read do."""
    for status, raw_request in UNREADABLE.items():
        if (status, server) == (400, "granian"):
            continue
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
            connection.sendall(raw_request)
            head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
        problem = json.loads(body)
        assert head.startswith(b"HTTP/1.1 %d " % status), head
        assert (problem["status"], problem["code"]) == (status, CODES[status])
        assert re.fullmatch("(The request|A header)[^'%]+[.]", problem["detail"]), "not gunicorn's own sentence"
        assert b"application/problem+json" in head
        assert f"x-request-id: {problem['request_id']}".encode() in head.lower()


def test_a_body_that_ends_early_is_not_taken_for_a_whole_one(service):
    """The client declares 500 bytes, sends 44 that are valid by themselves, and closes its side."""
    body = b'{"email": "a@example.com", "password": "xxx"}'
    head = b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    for declared, status in ((500, 400), (len(body), 401)):
        response = exchange(service.port, head % declared + body, half_closes=declared > len(body))
        assert response.startswith(b"HTTP/1.1 %d " % status), response
        assert (b'"code":"bad_request"' in response) == (status == 400)


def test_liveness_needs_nothing_and_readiness_lists_its_checks(service):
    assert service.get("/livez") == (200, {"status": "ok"})
    checks = dict.fromkeys(("database", "schema", "worker", "clock", "reconciled"), True)
    assert service.get("/readyz")[1]["checks"] == checks


@pytest.fixture
def key(service):
    result = service.command("api-keys", "create", "--scope", "admin", "--name", "test")
    assert result.returncode == 0, result.stderr
    return result.stdout.split()[-1]


def test_a_key_created_on_the_command_line_is_printed_last_and_works(service, key):
    assert service.get("/v1/sandbox/clock", key)[0] == 200
    assert service.get("/v1/sandbox/clock")[0] == 401


def test_an_export_arrives_as_a_whole(service, key):
    accounts = [service.call("POST", "/v1/accounts", ACCOUNT | {"email": f"{n}@example.com"}) for n in range(3)]
    assert [status for status, _ in accounts] == [201] * 3
    request = Request(f"http://127.0.0.1:{service.port}/v1/admin/exports/accounts.ndjson")
    request.add_header("Authorization", f"Bearer {key}")
    with urlopen(request) as response:
        exported = [json.loads(line)["email"] for line in response]
    assert exported == [f"{n}@example.com" for n in range(3)]


def test_the_metrics_of_all_web_processes_are_added_up(service):
    def count_requests():
        with urlopen(f"http://127.0.0.1:{service.port}/metrics") as response:
            samples = [line for line in response.read().decode().splitlines() if line.startswith(LIVEZ)]
        return float(samples[0].rpartition(" ")[2]) if samples else 0

    before = count_requests()
    for _ in range(40):
        assert service.get("/livez")[0] == 200
    assert count_requests() - before == 40


def test_a_request_in_progress_gets_its_response_before_the_service_stops(service):
    """A client is sending its request when SIGTERM arrives: it still gets its response, then all processes end."""
    processes = psutil.Process(service.process.pid).children(recursive=True)
    body = json.dumps({"email": "ann@example.com", "password": "wrong horse battery"}).encode()
    lines = ["POST /v1/sessions HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head = "\r\n".join([*lines, "", ""])
    with socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(head.encode() + body[:10])
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.sendall(body[10:])
        assert connection.recv(12) == b"HTTP/1.1 401"
    assert service.process.wait(TIMEOUT_S) == 0
    assert psutil.wait_procs(processes, timeout=TIMEOUT_S)[1] == []
