"""Servers under load: gunicorn with the product's configuration, for streamsvc and for the bare Flask view alike."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORKERS, THREADS = "2", "8"
TIMEOUT_S = 60


def find_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def run_gunicorn(app: str, env: dict):
    """Serve `app` with the environment `env`, and yield host:port."""
    port = find_free_port()
    server_env = env | {"STREAMSVC_PORT": str(port), "STREAMSVC_WORKERS": WORKERS, "STREAMSVC_THREADS": THREADS}
    server_env |= {"STREAMSVC_LOG_LEVEL": "error", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gunicorn", "-c", "python:streamsvc.http.gunicorn_conf", app]
    process = subprocess.Popen(command, env=server_env, cwd=ROOT)
    try:
        _wait_until_ready(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def _wait_until_ready(port, process):
    """Wait until a worker responds: gunicorn accepts connections before its workers have started."""
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
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
