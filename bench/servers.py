"""Servers under load, for streamsvc and for the bare Flask view alike, and the processor time that they use."""

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from streamsvc.cli.supervisor import READY_FD_VARIABLE

ROOT = Path(__file__).parent.parent
WORKERS, THREADS = 2, 8
TIMEOUT_S = 60
SYNC = ["-k", "sync", "-w", str(WORKERS), "--log-level", "error", "--no-control-socket"]
PLAIN_GRANIAN = [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", str(WORKERS)]
PLAIN_GRANIAN += ["--blocking-threads", "2", "--no-log"]
UVICORN = [sys.executable, "-m", "uvicorn", "--workers", str(WORKERS), "--log-level", "error", "--no-access-log"]


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def run_gunicorn(app: str, env: dict):
    """Serve `app` by the product's configuration of gunicorn with the environment `env`, and yield host:port."""
    with run_server("gunicorn", app, env) as server:
        yield server.host


@contextmanager
def run_server(kind: str, app: str, env: dict):
    """Serve `app`, a `module:name` or `module:factory()`, and yield a Server.

    `kind`: `gunicorn` and `granian` are the product's web processes, `sync`, `plain granian` and `uvicorn` the servers
    as they come; with `node`, `app` is the path of a script.
    """
    reports_ready = kind in ("gunicorn", "granian")
    ready, ready_writer = os.pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        opens_port = kind in ("plain granian", "uvicorn", "node")
        if opens_port:
            listener.close()
        server_env = {"STREAMSVC_THREADS": str(THREADS)} | env | {READY_FD_VARIABLE: str(ready_writer)}
        server_env |= {"STREAMSVC_PORT": str(port), "STREAMSVC_WORKERS": str(WORKERS)}
        server_env |= {"STREAMSVC_LOG_LEVEL": "error", "PYTHONPATH": str(ROOT)}
        fds = (ready_writer,) if opens_port else (ready_writer, fd)
        cwd = "/" if kind == "sync" else ROOT  # where gunicorn does not find the product's gunicorn.conf.py
        started = [
            subprocess.Popen(command, env=server_env, cwd=cwd, pass_fds=fds)
            for command in list_commands(kind, app, port, fd)
        ]
    os.close(ready_writer)
    try:
        _wait_until_ready(port, started, ready if reports_ready else None)
        yield Server(f"127.0.0.1:{port}", started)
    finally:
        os.close(ready)
        for process in started:
            process.terminate()
        for process in started:
            process.wait(TIMEOUT_S)


def list_commands(kind: str, app: str, port: int, listener_fd: int) -> list[list[str]]:
    """The commands that serve `app` together."""
    if kind == "plain granian":
        return [[*PLAIN_GRANIAN, "--port", str(port), app]]
    if kind == "uvicorn":
        return [[*UVICORN, "--port", str(port), app]]
    if kind == "node":
        return [["node", app, str(port)]]
    if kind == "granian":
        return [[sys.executable, "-m", "bench.granian_process", str(listener_fd), app]] * WORKERS
    options = SYNC if kind == "sync" else ["-c", "python:streamsvc.http.gunicorn_conf"]
    return [[sys.executable, "-m", "gunicorn", *options, "--bind", f"fd://{listener_fd}", app]]


class Server:
    """A running server. `host`: host:port."""

    def __init__(self, host: str, started: list[subprocess.Popen]):
        self.host, self.roots = host, [psutil.Process(process.pid) for process in started]

    @property
    def processes(self) -> list[psutil.Process]:
        """All of its processes: workers may start after the first of them responds."""
        return [*self.roots, *(child for root in self.roots for child in root.children(recursive=True))]

    def cpu_s(self) -> float:
        """The processor time that all of its processes have used."""
        return cpu_s(self.processes)


def cpu_s(processes: list[psutil.Process]) -> float:
    """The processor time of all threads of these processes, in seconds."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def find_postmaster(url: str) -> psutil.Process | None:
    """The main process of the PostgreSQL server on this machine that has the database; None for SQLite."""
    if not url.startswith("postgresql"):
        return None
    import psycopg

    with psycopg.connect(url) as connection:
        return psutil.Process(connection.info.backend_pid).parent()


def database_cpu_s(postmaster: psutil.Process | None) -> float:
    """The processor time of all of PostgreSQL's processes, those that have ended included."""
    if postmaster is None:
        return 0.0
    used_s = sum(postmaster.cpu_times()[:4])
    for process in postmaster.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used_s += cpu_s([process])
    return used_s


def _wait_until_ready(port, started, ready: int | None):
    """Wait until all workers have reported to `ready`, or one of them responds."""
    deadline, reported = time.monotonic() + TIMEOUT_S, 0
    while all(process.poll() is None for process in started) and time.monotonic() < deadline:
        if ready is not None:
            if select.select([ready], [], [], 0.1)[0]:
                reported += len(os.read(ready, WORKERS))
            if reported >= WORKERS:
                return
            continue
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
                connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
                if connection.recv(4) == b"HTTP":
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")


def environment_without_settings() -> dict:
    """The process environment without the STREAMSVC_ settings of another service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STREAMSVC_")}
