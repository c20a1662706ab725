"""A running `streamsvc serve` and a client for it: real processes over TCP."""

import gzip
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

import flask_migrate
import psutil

from streamsvc import clock
from streamsvc.app import create_app
from streamsvc.cli.catalog import import_with_progress
from streamsvc.operations.maintenance import demo
from streamsvc.settings import Settings
from streamsvc.storage.database import db
from tests.worlds.forked_commands import can_fork, commands

TIMEOUT_S = 60


class Service:
    """A `streamsvc serve` with its processes, and a client for it."""

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

    def command(self, *arguments, environment=None, **options):
        """Run a `streamsvc` command to its end.

        `environment` is added; `options` are those of `subprocess.run`, or `confined`: without what root may do.
        """
        env = self.env | (environment or {})
        if can_fork(env, options):
            return commands.run(list(arguments), env, **options)
        command = [sys.executable, "-m", "streamsvc.cli", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, **options)

    def start(self):
        command = [sys.executable, "-m", "streamsvc.cli", "serve"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=self.env, stderr=log)

    def call(self, method, path, body=None, token=None, **headers):
        """(status, document) of one request; (0, {}) if there is no response."""
        request_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            request_headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            request_headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, request_headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=2 * TIMEOUT_S) as response:
                return response.status, json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except OSError:
            return 0, {}

    def get(self, path, token=None):
        return self.call("GET", path, token=token)

    def children(self, word):
        """The processes below `serve` whose command line contains `word`."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        return [p for p in processes if word in command_line(p)]

    def is_ready(self):
        return self.get("/readyz")[0] == 200


def command_line(process):
    """The command line of a process; empty if it has just died."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def wait_until(condition, timeout_s=TIMEOUT_S):
    """Wait until the condition is true; returns its value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)
    return value


@contextmanager
def running_service(url, folder, **env):
    """A service ready for requests, on a migrated database; stopped afterwards."""
    service = Service(url, folder)
    service.env |= env
    service.start()
    try:
        wait_until(service.is_ready)
        yield service
    finally:
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(2 * TIMEOUT_S)
        log = service.log.read_text()
        print(log)
        assert "database is" not in log


DEMO_SETTINGS = {
    "STREAMSVC_SANDBOX_CLOCK": "2026-01-31T09:00:00Z",
    "STREAMSVC_SECRET_KEY": "one secret for all who serve the demo",
}
"""Further settings of services on a database with the demo's data."""


def seed_demo(url):
    """Fill a database as `streamsvc demo` does: all migrations, then the demo's titles, plans, viewer and operator."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(url, Path(folder))
        service.env |= DEMO_SETTINGS
        for arguments in (("db", "upgrade"), ("demo", "seed")):
            result = service.command(*arguments)
            assert result.returncode == 0, result.stderr


def seed_small_demo(url):
    """Fill a database as `streamsvc demo` does, but with the films named Spider-Man alone of its real films."""
    settings = Settings.from_env({"STREAMSVC_DATABASE_URL": url, "STREAMSVC_SANDBOX": "1", **DEMO_SETTINGS})
    app = create_app(settings)
    with app.app_context(), tempfile.TemporaryDirectory() as folder:
        flask_migrate.upgrade()
        films, videos = demo.CATALOGS
        with gzip.open(films, "rt") as lines:
            found = [line for line in lines if '"title":"Spider-Man' in line.replace('": "', '":"')]
        file = Path(folder) / "titles.ndjson"
        file.write_text("".join(found) + videos.read_text())
        assert not import_with_progress(file).rejected
        demo.seed_accounts_and_plans(clock.now())
        for engine in db.engines.values():
            engine.dispose()
