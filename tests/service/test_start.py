"""What keeps the service from starting is said in one sentence, by the command that an operator runs."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.conftest import DATABASES, migrate_database
from tests.worlds import databases
from tests.worlds.service import Service, running_service, wait_until

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.one_database

HEX = "5f0c1e9ab7d243688e71c05d2f94ba36"
PRODUCTION = {
    "SANDBOX": "",
    "ENV": "production",
    "SECRET_KEY": HEX,
    "PUBLIC_URL": "https://tv.test",
    "MAIL_URL": "smtp://mail.tv.test:587",
    "PAYMENT_PROVIDER": "stripe",
    "STRIPE_SECRET_KEY": "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "STRIPE_WEBHOOK_SECRET": "whsec_ZWUg8vGrqKdUNsCSrPLFyXhBNm2mKYZn",
}
CONFINED = {"confined": True}
"""As another user than root, whom permissions of files do not stop."""


@pytest.fixture
def url(new_database):
    """The URL of a migrated SQLite database in a folder of its own."""
    return new_database("sqlite", "started", migrate_database)


@pytest.fixture
def start(tmp_path):
    """`start(url, **settings)`: what `streamsvc serve`, or another command, says; it must be one sentence."""

    def run(url="", command=("serve",), folder=tmp_path, options=None, **settings):
        service = Service(url or f"sqlite:///{tmp_path / 'service.sqlite3'}", folder)
        service.env |= {f"STREAMSVC_{name}": str(value) for name, value in settings.items()}
        result = service.command(*command, **(options or {}))
        assert result.returncode == 1, result.stdout + result.stderr
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
        return result.stderr.strip()

    return run


UNSAFE = [
    ({"MAIL_URL": ""}, "MAIL_URL: production needs a mail server, such as smtp://"),
    ({"MAIL_URL": "console:"}, "MAIL_URL: production needs a mail server"),
    ({"MAIL_URL": "file:/tmp/mail"}, "MAIL_URL: production needs a mail server"),
    ({"PUBLIC_URL": ""}, "PUBLIC_URL: required in production, such as https://"),
    ({"PUBLIC_URL": "http://tv.test"}, "PUBLIC_URL: must start with https://"),
    ({"PUBLIC_URL": "https://"}, "PUBLIC_URL: must"),
    ({"SECRET_KEY": ""}, "SECRET_KEY: required in production"),
    ({"SECRET_KEY": "k" * 40}, "SECRET_KEY: is easy to guess"),
    ({"SECRET_KEY": "0123456789abcdef" * 4}, "SECRET_KEY: is easy to guess"),
    ({"SECRET_KEY": "abcdefghijklmnopqrstuvwxyz0123456789"}, "SECRET_KEY: is easy to guess"),
    ({"SECRET_KEY": "one secret for all who serve the demo"}, "SECRET_KEY: is easy to guess"),
    ({"SECRET_KEY": "CHANGE-ME-before-production-9471"}, "SECRET_KEY: is easy to guess"),
    ({"SECRET_KEY": f"{HEX},{'ab' * 16}"}, "SECRET_KEY: is easy to guess"),
    ({"PASSWORD_PEPPER": f"p1:{'x' * 32}"}, "PASSWORD_PEPPER: is easy to guess"),
    ({"STRIPE_SECRET_KEY": "sk_live_…"}, "STRIPE_SECRET_KEY: is not complete"),
    ({"STRIPE_SECRET_KEY": "4eC39HqLyjWDarjtT1zdp7dc"}, "STRIPE_SECRET_KEY: is not complete"),
    ({"STRIPE_WEBHOOK_SECRET": "whsec_1"}, "STRIPE_WEBHOOK_SECRET: is not complete"),
    ({"PAYMENT_PROVIDER": ""}, "PAYMENT_PROVIDER: production needs a real payment provider"),
    ({"SANDBOX": "1", "STRIPE_SECRET_KEY": "sk_test_4eC39HqLyjWDarjtT1zdp7dc"}, "SANDBOX: must be off in production"),
]


@pytest.mark.parametrize(("changes", "message"), UNSAFE, ids=str)
def test_production_does_not_start_with_an_unsafe_setting(start, changes, message):
    text = start(**PRODUCTION | changes)
    assert text.startswith(f"streamsvc cannot start: STREAMSVC_{message}")
    secrets = [value for value in (PRODUCTION | changes).values() if len(value) > 20 and "://" not in value]
    assert not [secret for secret in secrets if secret in text]


def test_production_starts_with_safe_settings(start):
    assert "streamsvc db upgrade" in start(**PRODUCTION), "the next thing that is missing"


@pytest.mark.parametrize(
    ("package", "extra", "settings"),
    [
        ("psycopg", "postgres", {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d"}),
        ("stripe", "stripe", {}),
        ("prometheus_client", "metrics", {"METRICS": "1"}),
    ],
)
def test_a_missing_extra_is_named(start, tmp_path, package, extra, settings):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    text = start(**PRODUCTION | settings, options={"environment": {"PYTHONPATH": path}})
    assert f"needs the extra `{extra}`: pip install" in text


def test_gunicorn_says_it_too():
    """Under another supervisor, `gunicorn wsgi:app` reads the same settings."""
    command = [sys.executable, "-m", "gunicorn", "wsgi:app"]
    env = os.environ | {"STREAMSVC_WORKERS": "many"}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.strip() == "streamsvc cannot start: STREAMSVC_WORKERS: must be a whole number from 1 to 64"


BROKEN_APP = """
import sys
if "gunicorn" in sys.orig_argv:
    sys.modules["streamsvc.app"] = None
elif "serve" in sys.orig_argv:
    from streamsvc.cli import supervisor
    supervisor.MIN_UPTIME_S = 0
"""
"""On a slow machine, an import takes longer to fail than the usual `MIN_UPTIME_S`."""


def test_an_app_that_cannot_be_imported_ends_serve_however_long_that_takes(url, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BROKEN_APP)
    service = Service(url, tmp_path)
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    env = {"PYTHONPATH": path, "STREAMSVC_LOG_FORMAT": "json"}
    result = service.command("serve", environment=env, timeout=100)
    assert result.returncode == 1
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    errors = [line for line in lines if line["level"] == "ERROR"]
    assert [line["message"] for line in errors] == 3 * ["the app cannot be imported"]
    assert all("streamsvc.app" in line["exception"] for line in errors)


def test_serve_logs_in_the_chosen_format_that_its_spans_cannot_be_sent(url, tmp_path):
    pytest.importorskip("opentelemetry.sdk")
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    nowhere["OTEL_BSP_SCHEDULE_DELAY"] = "1500"
    settings = {"STREAMSVC_TRACING": "1", "STREAMSVC_LOG_FORMAT": "json"}
    with running_service(url, tmp_path, **settings, **nowhere) as service:
        wait_until(lambda: "opentelemetry" in service.log.read_text())
    for line in service.log.read_text().splitlines():
        json.loads(line)


def test_a_data_folder_that_cannot_be_written_is_named(start, tmp_path):
    tmp_path.chmod(0o555)
    folder = tmp_path / "sub"
    for settings in ({}, {"SECRET_KEY": HEX}):  # the key's file, or the database's folder
        text = start(f"sqlite:///{folder}/x.sqlite3", ("db", "upgrade"), folder=folder, options=CONFINED, **settings)
        assert str(folder) in text and "Permission denied" in text and "STREAMSVC_DATA_DIR" in text
    text = start(
        f"sqlite:///{tmp_path}/x.sqlite3", ("db", "upgrade"), folder=tmp_path, options=CONFINED, SECRET_KEY=HEX
    )
    assert "x.sqlite3 cannot be written" in text


def test_a_database_that_is_read_only_is_named(start, url):
    path = Path(url.removeprefix("sqlite:///"))
    path.chmod(0o444)
    text = start(url, folder=path.parent, options=CONFINED, command=("db", "downgrade"), SECRET_KEY=HEX)
    assert f"{path.name} cannot be written" in text


def test_a_secret_key_of_another_user_is_named(start, tmp_path):
    key = tmp_path / "secret.key"
    key.write_text(HEX)
    key.chmod(0)
    text = start(folder=tmp_path, options=CONFINED)
    assert f"{key} cannot be read: Permission denied" in text
    assert HEX not in text


def test_a_secret_key_of_another_service_is_named(start, url):
    insert = "INSERT INTO rate_limit_keys (secret_id, key_encrypted, created_at) VALUES ('x', 'x', '2026-01-01')"
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql(insert)
    text = start(url)
    assert "secret.key is not the key with which this database was used" in text


def test_a_file_that_is_no_database_is_named_and_left_as_it_is(start, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("a file of another program\n" * 100)
    for command in (("serve",), ("db", "upgrade")):
        assert f"{path} is not an SQLite database" in start(f"sqlite:///{path}", command=command)
    assert path.read_text() == "a file of another program\n" * 100


def test_a_port_that_is_taken_is_named(start, url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in (("serve",), ("demo",)):
            text = start(url, command=command, PORT=port)
            assert f"cannot listen on 127.0.0.1:{port}: the port is taken" in text


def test_a_port_that_this_user_may_not_open_is_named(start, url, tmp_path):
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("everybody may open any port here")
    for command in (("serve",), ("demo",)):
        text = start(url, command=command, folder=tmp_path, options=CONFINED, PORT=80)
        assert "cannot listen on 127.0.0.1:80: this user may not open ports below 1024" in text


@pytest.mark.parametrize(("host", "reason"), [("192.0.2.1", "no such address"), ("no.such.invalid", "no such host")])
def test_an_address_that_is_not_of_this_machine_is_named(start, url, host, reason):
    assert reason in start(url, HOST=host)


def test_no_message_is_lost_when_the_file_is_another_programs_database(start, tmp_path):
    path = tmp_path / "other.sqlite3"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE of_another_program (id INTEGER)")
    assert "streamsvc db upgrade" in start(f"sqlite:///{path}")


@pytest.mark.parametrize("kind", DATABASES)
def test_every_command_says_that_the_schema_is_missing(start, new_database, kind):
    url = new_database(kind, "unmigrated")
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE of_another_program (id INTEGER)")
    for command in (("jobs", "list"), ("operators", "list"), ("billing", "audit")):
        text = start(url, command=command, SANDBOX="1")
        assert text.startswith("streamsvc: database error: ") and "run `streamsvc db upgrade` first" in text, command
    for command in (("worker",), ("worker", "--once")):
        text = start(url, command=command, SANDBOX="1")
        assert text == "Error: the database schema is out of date: run `streamsvc db upgrade` first", command


@pytest.mark.skipif("postgresql" not in DATABASES, reason="an SQLite file is never unreachable")
def test_a_worker_that_waits_for_its_database_requires_its_schema(tmp_path):
    url = os.environ[databases.SERVER_VARIABLE].format("appears_later")
    service = Service(url, tmp_path)
    with service.log.open("w") as log:
        worker = subprocess.Popen([sys.executable, "-m", "streamsvc.cli", "worker"], env=service.env, stderr=log)
    try:
        wait_until(lambda: "database unavailable" in service.log.read_text())
        assert worker.poll() is None
        databases.create_database("postgresql", tmp_path, "appears_later")
        assert worker.wait(30) == 1
    finally:
        worker.kill()
        worker.wait()
    last_line = service.log.read_text().splitlines()[-1]
    assert last_line == "Error: the database schema is out of date: run `streamsvc db upgrade` first"


@pytest.mark.parametrize("command", [("serve",), ("worker",), ("worker", "--once")], ids=" ".join)
def test_a_file_that_is_no_database_is_named_and_nothing_waits_for_it(start, tmp_path, command):
    path = tmp_path / "other.sqlite3"
    path.write_bytes(b"text, and not a database" * 400)
    text = start(f"sqlite:///{path}", command=command, options={"timeout": 60})
    assert text.endswith("is not an SQLite database; name another file, or move this one away")
