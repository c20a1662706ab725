"""`streamsvc serve` as an operator runs it: real processes over TCP, on both databases, with parts that die."""

import json
import os
import signal
import socket
import time
from urllib.request import urlopen

import psutil
import pytest

from tests.worlds.service import TIMEOUT_S, Service, running_service, wait_until


@pytest.fixture(scope="module")
def service(database, new_database, tmp_path_factory):
    url = new_database(database, "served")
    with running_service(url, tmp_path_factory.mktemp("served"), STREAMSVC_METRICS="1") as running:
        yield running


def test_serve_refuses_a_database_that_was_not_migrated(database, new_database, tmp_path):
    answer = Service(new_database(database, "unmigrated"), tmp_path).command("serve")
    assert answer.returncode == 1
    assert "streamsvc db upgrade" in answer.stderr


def test_a_wrong_setting_is_one_sentence_not_a_traceback(tmp_path):
    service = Service("sqlite:///x", tmp_path)
    service.env["STREAMSVC_WORKERS"] = "many"
    answer = service.command("serve")
    assert answer.returncode == 1
    assert answer.stderr.strip().splitlines() == [
        "streamsvc cannot start: STREAMSVC_WORKERS: give a whole number from 1 to 64"
    ]


def test_web_processes_and_the_worker_are_replaced_when_killed(service):
    for word in ("gunicorn", "worker"):
        before = {p.pid for p in service.children(word)}
        victim = max(before)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda word=word, before=before, victim=victim: replaced(service.children(word), before, victim))
    wait_until(service.is_ready)


def replaced(processes, before, victim):
    now = {process.pid for process in processes}
    return victim not in now and len(now) == len(before)


LIVEZ = 'streamsvc_request_seconds_count{method="GET",route="/livez",status="200"}'
UNREADABLE = {
    414: b"GET /livez?" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    431: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 9000 + b"\r\n\r\n",
    400: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Odd: \x7f\x01\r\n\r\n",
}


def test_what_never_reaches_the_app_is_refused_in_the_same_form(service):
    for status, sent in UNREADABLE.items():
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as line:
            line.sendall(sent)
            head, _, body = line.makefile("rb").read().partition(b"\r\n\r\n")
        problem = json.loads(body)
        assert head.startswith(b"HTTP/1.1 %d " % status), head
        assert problem["status"] == status
        assert b"application/problem+json" in head
        assert f"X-Request-Id: {problem['request_id']}".encode() in head


def test_liveness_needs_nothing_and_readiness_tells_what_is_missing(service):
    assert service.get("/livez") == (200, {"status": "ok"})
    assert service.get("/readyz")[1]["checks"] == {"database": True, "schema": True, "worker": True}


@pytest.fixture
def key(service):
    made = service.command("api-keys", "create", "--scope", "admin", "--name", "test")
    assert made.returncode == 0, made.stderr
    return made.stdout.split()[-1]


def test_a_key_made_on_the_command_line_is_its_last_word_and_works(service, key):
    assert service.get("/v1/sandbox/clock", key)[0] == 200
    assert service.get("/v1/sandbox/clock")[0] == 401


def test_what_all_web_processes_did_is_added_up(service):
    def asked():
        with urlopen(f"http://127.0.0.1:{service.port}/metrics") as answer:
            found = [line for line in answer.read().decode().splitlines() if line.startswith(LIVEZ)]
        return float(found[0].rpartition(" ")[2]) if found else 0

    before = asked()
    for _ in range(40):
        assert service.get("/livez")[0] == 200
    assert asked() - before == 40


def test_a_request_under_way_is_answered_before_the_service_stops(service):
    """A client holds its request open, SIGTERM comes, the rest is sent, the answer arrives; then all are gone."""
    below = psutil.Process(service.process.pid).children(recursive=True)
    body = json.dumps({"email": "ann@example.com", "password": "wrong horse battery"}).encode()
    lines = ["POST /v1/sessions HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head = "\r\n".join([*lines, "", ""])
    with socket.create_connection(("127.0.0.1", service.port), timeout=TIMEOUT_S) as held:
        held.sendall(head.encode() + body[:10])
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        held.sendall(body[10:])
        assert held.recv(12) == b"HTTP/1.1 401"
    assert service.process.wait(TIMEOUT_S) == 0
    assert psutil.wait_procs(below, timeout=TIMEOUT_S)[1] == []
