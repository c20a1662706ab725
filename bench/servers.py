"""Servers under load: gunicorn as the product ships it, for streamsvc and for the bare Flask view alike."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORKERS, THREADS = "2", "8"
PATIENCE_S = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def gunicorn(app: str, env: dict):
    """Serve `app`; gives host:port. `env` is what the app needs."""
    port = free_port()
    given = env | {"STREAMSVC_PORT": str(port), "STREAMSVC_WORKERS": WORKERS, "STREAMSVC_THREADS": THREADS}
    given |= {"STREAMSVC_LOG_LEVEL": "error", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gunicorn", "-c", "python:streamsvc.http.gunicorn_conf", app]
    process = subprocess.Popen(command, env=given, cwd=ROOT)
    try:
        _wait_for(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait_for(port, process):
    """Until a worker answers: gunicorn listens before its workers have started."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as asking:
                asking.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
                if asking.recv(4) == b"HTTP":
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")


def clean_env() -> dict:
    """The environment without what somebody set for a service of their own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STREAMSVC_")}
