"""A running `streamsvc serve` and a client for it: real processes over TCP."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import psutil

TIMEOUT_S = 60


class Service:
    """A running `streamsvc serve`, its processes, and a client for it."""

    def __init__(self, url, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = folder / "serve.log"
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STREAMSVC_")},
            "STREAMSVC_DATABASE_URL": url,
            "STREAMSVC_DATA_DIR": str(folder),
            "STREAMSVC_PORT": str(self.port),
            "STREAMSVC_WORKERS": "2",
            "STREAMSVC_SANDBOX": "1",
        }

    def command(self, *words):
        command = [sys.executable, "-m", "streamsvc.cli", *words]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)

    def start(self):
        command = [sys.executable, "-m", "streamsvc.cli", "serve"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=self.env, stderr=log)

    def call(self, method, path, body=None, token=None, **headers):
        """(status, document) of one request; (0, {}) where nobody answers."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            given["Authorization"] = f"Bearer {token}"
        if body is not None:
            given["Content-Type"] = "application/json"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=2 * TIMEOUT_S) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())
        except OSError:
            return 0, {}

    def get(self, path, token=None):
        return self.call("GET", path, token=token)

    def children(self, word):
        """The processes below `serve` whose command line has `word`."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [p for p in below if word in command_line(p)]

    def is_ready(self):
        return self.get("/readyz")[0] == 200


def command_line(process):
    """Its command line; empty for one that has just died."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def wait_until(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
    return found


@contextmanager
def running_service(url, folder, **env):
    """A service on a migrated database, ready; drained and gone afterwards."""
    running = Service(url, folder)
    running.env |= env
    migrated = running.command("db", "upgrade")
    assert migrated.returncode == 0, migrated.stderr
    running.start()
    try:
        wait_until(running.is_ready)
        yield running
    finally:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(2 * TIMEOUT_S)
        told = running.log.read_text()
        print(told)
        assert "database is" not in told


DEMO_SETTINGS = {
    "STREAMSVC_SANDBOX_CLOCK": "2026-01-31T09:00:00Z",
    "STREAMSVC_SECRET_KEY": "one secret for all who serve the demo",
}
"""What services on a seeded database are told, too."""


def seed_demo(url):
    """Fill a database as `streamsvc demo` does: all migrations, then the demo's titles, plans and people."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(url, Path(folder))
        service.env |= DEMO_SETTINGS
        for words in (("db", "upgrade"), ("demo", "seed")):
            done = service.command(*words)
            assert done.returncode == 0, done.stderr
