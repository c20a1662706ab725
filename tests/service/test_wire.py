"""HTTP on the wire: malformed, slow and silent clients of a running `streamsvc serve`, on gunicorn and on Granian."""

import fcntl
import json
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from streamsvc.http.request_limits import LARGE_BODIES
from streamsvc.operations.catalog.imports import imports
from tests.conftest import migrate_database
from tests.worlds.service import running_service, wait_until
from tests.worlds.wire import CHUNKED, LENGTH, SESSION, chunked, exchange, find_wrong_responses, request

THREADS, MAX_CONNECTIONS = 4, 100
READ_LOCKS = (5, 123)
"""(how many, from where): the bytes of SQLite's -shm file one of which each reader locks (WAL_READ_LOCK in wal.c)."""
PAUSE_S = 0.003
READ = b"GET /v1/plans HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module", params=["gunicorn", "granian"])
def server(request):
    return request.param


@pytest.fixture(scope="module")
def database_file(server, new_database):
    return new_database("sqlite", "wire", migrate_database).removeprefix("sqlite:///")


@pytest.fixture(scope="module")
def service(server, database_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wire")
    url = f"sqlite:///{database_file}"
    settings = {"STREAMSVC_WORKERS": "1", "STREAMSVC_THREADS": str(THREADS), "STREAMSVC_REQUEST_TIMEOUT_S": "1"}
    settings |= {"STREAMSVC_SERVER": server, "GUNICORN_CMD_ARGS": f"--worker-connections {MAX_CONNECTIONS}"}
    with running_service(url, folder, **settings) as running:
        yield running


@pytest.fixture
def only_gunicorn(server):
    if server != "gunicorn":
        pytest.skip("not a matter of the server, or as docs/deployment.md says otherwise")


@pytest.fixture
def connect(service):
    """Open a connection and send some bytes; all are closed after the test."""
    with ExitStack() as stack:

        def open_connection(data=b""):
            address = ("127.0.0.1", service.port)
            connection = stack.enter_context(socket.create_connection(address, timeout=20))
            connection.sendall(data)
            return connection

        yield open_connection


def read_response(stream):
    """(status, headers, document) of the next response on a connection."""
    status = int(stream.readline().split()[1])
    headers = dict(line.decode().strip().split(": ", 1) for line in iter(stream.readline, b"\r\n"))
    headers = {name.title(): value for name, value in headers.items()}
    return status, headers, json.loads(stream.read(int(headers.get("Content-Length", 0))) or b"{}")


def test_malformed_requests_get_the_status_of_their_error(service, server):
    assert find_wrong_responses(service.port, server) == {}


@pytest.mark.parametrize("options", ["close", "te, Close", "close,te"])
def test_a_connection_ends_after_the_request_that_says_so(connect, options):
    connection = connect(f"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: {options}\r\nTE: trailers\r\n\r\n".encode())
    stream = connection.makefile("rb")
    status, headers, _ = read_response(stream)
    assert (status, headers.get("Connection")) == (200, "close")
    assert stream.read() == b""


@pytest.mark.parametrize("character", ["é", "\U0001f600"])
def test_a_query_with_characters_that_are_not_encoded_is_refused(connect, character):
    connection = connect(f"GET /v1/plans?x={character} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert read_response(connection.makefile("rb"))[0] == 400


def test_clients_that_are_slow_or_silent_hold_no_thread(service, server, connect):
    heads = [connect(b"GET /livez HTTP/1.1\r\nHost: x\r\n") for _ in range(2 * THREADS)]
    bodies = [connect(request(LENGTH, body=SESSION[:5])) for _ in range(2 * THREADS)]
    silent = [connect() for _ in range(20)]
    started = time.monotonic()
    assert service.get("/readyz")[0] == 200
    assert exchange(service.port, request(LENGTH, body=SESSION), half_closes=False).startswith(b"HTTP/1.1 422 ")
    assert time.monotonic() - started < 15, "served only after the slow clients were given up"
    described = [bodies[0], bodies[-1]]
    if server == "gunicorn":
        described += [heads[0], heads[-1]]
    else:
        assert heads[0].recv(100) == b"", "Granian closes without a response"
    for connection in described:
        status, headers, problem = read_response(connection.makefile("rb"))
        assert (status, problem["code"], problem["status"]) == (408, "request_timeout", 408)
        assert headers["Content-Type"] == "application/problem+json"
        assert headers["Connection"] == "close"
        assert connection.recv(100) == b"", "the connection is closed"
    assert silent[0].recv(100) == b"", "closed without a response to a request that was never begun"


@pytest.mark.usefixtures("only_gunicorn")
def test_more_silent_connections_than_fit_keep_nobody_out(service, connect):
    silent = [connect() for _ in range(MAX_CONNECTIONS + 20)]
    started = time.monotonic()
    assert service.get("/livez")[0] == 200
    assert time.monotonic() - started < 15, "served only after the silent clients were given up"
    assert silent[0].recv(100) == b"", "the longest silent one made room"


def test_clients_that_read_slowly_hold_no_thread(service, connect):
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    slow = [connect(ask + ask) for _ in range(4 * THREADS)]
    time.sleep(0.5)
    started = time.monotonic()
    assert service.get("/readyz")[0] == 200
    assert time.monotonic() - started < 15, "served only after the slow clients were given up"
    stream = slow[-1].makefile("rb")
    responses = [read_response(stream) for _ in range(2)]
    assert all(int(headers["Content-Length"]) > 1_000_000 for _, headers, _ in responses), "more than a buffer holds"
    assert responses[0][2] == responses[1][2] == service.get("/openapi.json")[1]


@contextmanager
def waiting_readers(database_file):
    """Have every reader of the database wait, for up to ten seconds, as when its disk does not respond."""
    with Path(f"{database_file}-shm").open("r+b") as shared_memory:
        fcntl.lockf(shared_memory, fcntl.LOCK_EX, *READ_LOCKS)
        yield


def test_reads_that_wait_for_the_disk_hold_up_nobody_else(service, database_file, connect):
    """More of them than there are threads; the event loop serves such reads by itself as long as they are quick."""
    stream = connect(READ).makefile("rb")
    assert read_response(stream)[0] == 200
    with waiting_readers(database_file):
        waiting = []
        for _ in range(THREADS + 3):
            waiting.append(connect(READ).makefile("rb"))
            started = time.monotonic()
            assert service.get("/livez")[0] == 200
            assert time.monotonic() - started < 2, "the liveness check waited for the disk"
    assert [read_response(stream)[0] for stream in waiting] == [200] * len(waiting)
    assert service.get("/v1/plans")[0] == 200


@pytest.mark.usefixtures("only_gunicorn")
def test_the_event_loop_serves_quick_reads_by_itself(service, connect):
    process = service.children("gunicorn")[-1]
    connection = connect()
    stream, before = connection.makefile("rb"), {thread.id: sum(thread[1:]) for thread in process.threads()}
    for _ in range(500):
        connection.sendall(READ)
        assert read_response(stream)[0] == 200
    used = [sum(thread[1:]) - before.get(thread.id, 0) for thread in process.threads()]
    assert max(used) > 0.8 * sum(used) > 0, "the processor time of each thread"


def test_a_slow_read_on_a_pipelined_connection_keeps_the_order(service, database_file, connect):
    with waiting_readers(database_file):
        stream = connect(READ + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + READ).makefile("rb")
        time.sleep(0.2)
    documents = [read_response(stream)[2] for _ in range(3)]
    assert [document.get("status") for document in documents] == [None, "ok", None]


def test_requests_sent_at_once_are_answered_in_order(connect):
    both = request(CHUNKED, body=chunked(SESSION)) + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    stream = connect(both).makefile("rb")
    assert [read_response(stream)[0] for _ in range(2)] == [422, 200]


def test_a_client_that_asks_first_is_told_to_send_its_body(connect):
    connection = connect(request(LENGTH, b"Expect: 100-continue"))
    stream = connection.makefile("rb")
    assert (stream.readline(), stream.readline()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
    connection.sendall(SESSION)
    assert read_response(stream)[0] == 422
    too_large = connect(request(b"Content-Length: 999999", b"Expect: 100-continue")).makefile("rb")
    assert read_response(too_large)[0] == 413, "refused before it is sent"


def test_a_header_with_an_underscore_is_not_taken_for_the_one_with_a_hyphen(connect):
    for name, is_used in ((b"X-Request-Id", True), (b"X_Request_Id", False)):
        stream = connect(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + name + b": mine\r\n\r\n").makefile("rb")
        assert (read_response(stream)[1]["X-Request-Id"] == "mine") == is_used


def test_no_header_changes_the_path(connect):
    """A proxy may restrict paths, such as /metrics; clients reach no other path than the one that it saw."""
    for path, name, status in ((b"/x/livez", b"/x", 404), (b"/livez", b"/x", 200)):
        headers = b"SCRIPT_NAME: " + name + b"\r\nPATH_INFO: /v1/plans\r\n\r\n"
        stream = connect(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + headers).makefile("rb")
        assert read_response(stream)[0] == status


def test_a_process_receives_four_large_bodies_at_a_time(connect):
    head = b"POST /v1/admin/imports HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    responses = [read_response(connection.makefile("rb")) for connection in [connect(head) for _ in range(5)]]
    assert sorted(status for status, *_ in responses) == [408] * 4 + [503], "late, and one too many"
    refused = next(response for response in responses if response[0] == 503)
    assert (refused[2]["code"], refused[1]["Retry-After"]) == ("unavailable", "5")


def test_only_imports_may_send_large_bodies():
    assert LARGE_BODIES == {("POST", "/v1/admin/imports"): imports.MAX_FILE_BYTES}


class Traffic:
    """Clients that each open a connection for every request, until stopped or refused. `failures`: what went wrong.

    Each pauses after a response, so that there is always a connection being made and the machine has time for others.
    """

    def __init__(self, port, clients=3, path="/livez"):
        self.port, self.stopping, self.failures, self.slowest_s, self.refused = port, False, [], 0, 0
        self.request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self):
        while not self.stopping:
            started = time.monotonic()
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            except ConnectionRefusedError:
                self.refused += 1
                return
            try:
                with connection:
                    connection.sendall(self.request)
                    response = connection.makefile("rb").read()
                    if not response.startswith(b"HTTP/1.1 200 "):
                        self.failures.append(response)
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            except OSError as error:
                self.failures.append(repr(error))
            time.sleep(PAUSE_S)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        for thread in self.threads:
            thread.join()


@pytest.mark.usefixtures("only_gunicorn")
def test_a_service_that_cannot_write_is_alive_but_not_ready(service):
    """The size limit of files does to SQLite what a full disk does."""
    web = service.children("gunicorn")[-1]
    limit = web.rlimit(psutil.RLIMIT_FSIZE)
    web.rlimit(psutil.RLIMIT_FSIZE, (4096, limit[1]))
    time.sleep(1.1)  # the last write counts for a second
    assert service.get("/livez")[0] == 200
    status, problem = service.get("/readyz")
    assert (status, problem["code"], problem["checks"]["database"]) == (503, "not_ready", False)
    web.rlimit(psutil.RLIMIT_FSIZE, limit)
    wait_until(service.is_ready)


@pytest.mark.usefixtures("only_gunicorn")
def test_a_taken_port_ends_serve_with_a_clear_error(service):
    result = service.command("serve")
    assert result.returncode == 1
    assert f"Error: cannot listen on 127.0.0.1:{service.port}: the port is taken; " in result.stderr


def test_a_reload_replaces_all_processes_without_a_gap(service):
    old = {process.pid for process in service.children("")}
    started = time.monotonic()
    with Traffic(service.port) as traffic, Traffic(service.port, clients=1, path="/readyz") as balancer:
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not old & {process.pid for process in service.children("")})
    assert (traffic.failures, traffic.refused, balancer.failures) == ([], 0, [])
    assert traffic.slowest_s < (time.monotonic() - started) / 3, "no request waited until the new processes were ready"
    assert len(service.children("")) == len(old)


def test_sigterm_resets_no_connection(service, connect):
    """Nor does it close one that has been made and has sent nothing yet."""
    fresh = connect()
    with Traffic(service.port, clients=8) as traffic:
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        fresh.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(fresh.makefile("rb"))[0] == 200
        assert service.process.wait(60) == 0
    assert traffic.failures == []
    assert traffic.refused == 8


@pytest.mark.usefixtures("only_gunicorn")
def test_a_full_log_stops_nothing_and_a_killed_supervisor_leaves_no_process(service):
    log, service.log = service.log, Path("/dev/full")
    service.start()
    service.log = log
    wait_until(service.is_ready)
    count, victim = len(service.children("")), service.children("gunicorn")[0]
    victim.kill()
    wait_until(
        lambda: not victim.is_running() and len(service.children("")) == count and service.get("/livez")[0] == 200
    )
    processes = service.children("")
    service.process.kill()
    assert psutil.wait_procs(processes, timeout=20)[1] == []
