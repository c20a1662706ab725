"""`streamsvc doctor` finds nothing in a healthy service, and each fault that is planted."""

import json
import sqlite3
from datetime import timedelta

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from streamsvc import clock as clocks
from streamsvc.cli.doctor import doctor
from streamsvc.cli.group import group
from streamsvc.models import Account, ClockReading, Job, WebhookDelivery, WebhookEndpoint, WebhookEvent, Worker
from streamsvc.models.subscriptions import Invoice, Payment, Subscription
from streamsvc.operations.maintenance import clock_check
from streamsvc.operations.maintenance.doctor import environment
from streamsvc.operations.maintenance.doctor.findings import run_checks
from streamsvc.setting_checks import list_doubtful_settings
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one, new_id
from tests.conftest import NOON
from tests.worlds.billing_world import World
from tests.worlds.machine import Machine
from tests.worlds.scenes import set_scene

pytestmark = pytest.mark.every_database


def build_world(app):
    world = World(app)
    world.subscriber = world.person()
    assert world.subscriber.subscribe(world.plan("p", 1000)).status_code == 201
    world.go_to(NOON + timedelta(minutes=1))
    return world


@pytest.fixture
def world(app):
    """A service with a paying subscriber and a live worker."""
    world = set_scene(app, build_world)
    with app.app_context():
        now = clocks.wall_time()
        execute_write(sa.insert(Worker).values(id="w", started_at=now, seen_at=now))
    return world


def examine(world, full=False):
    """{check: status} of what is not ok."""
    with world.app.app_context():
        return {result.check: result.status for result in run_checks(full) if result.status != "ok"}


def test_a_healthy_service_has_exit_code_0(app, world):
    assert examine(world, full=True) == {}
    result = app.test_cli_runner().invoke(doctor, ["--json"])
    document = json.loads(result.output)
    assert (result.exit_code, document["exit_code"]) == (0, 0)
    assert {check["status"] for check in document["checks"]} == {"ok"}


def unbalance_a_journal(world):
    execute_write(
        sa.text(
            "UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE id = (SELECT min(id) FROM ledger_entries)"
        )
    )


def forget_the_next_step(world):
    execute_write(sa.text("UPDATE invoices SET status = 'open', issued_at = NULL"))


def charge_twice(world):
    (payment,) = fetch_all(sa.select(Payment.__table__))
    again = payment._asdict() | {"id": new_id("pay"), "provider_reference": "again"}
    execute_write(sa.insert(Payment.__table__).values(again))


def change_the_audit_log(world):
    execute_write(sa.text("UPDATE audit_events SET action = 'x' WHERE seq = (SELECT max(seq) FROM audit_events)"))


def disable_an_account(world):
    execute_write(sa.update(Account.__table__).where(Account.id == world.subscriber.id).values(status="disabled"))


def lose_the_worker(world):
    execute_write(sa.delete(Worker.__table__))


def delay_jobs(world, by=timedelta(minutes=10)):
    values = {"id": new_id("job"), "kind": "mail.send", "payload": {}, "attempts": 0, "run_at": world.clock.at - by}
    execute_write(sa.insert(Job.__table__).values(values))


def fail_a_job(world):
    delay_jobs(world)
    execute_write(sa.update(Job.__table__).where(Job.kind == "mail.send").values(failed_at=NOON))


def fail_a_webhook(world):
    ids = {"endpoint_id": "whe_1", "event_id": fetch_one(sa.select(WebhookEvent.id))[0]}
    endpoint = {"id": "whe_1", "url": "https://receiver.example", "secret_encrypted": "x", "created_at": NOON}
    execute_write(sa.insert(WebhookEndpoint.__table__).values(endpoint))
    values = {"id": "whd_1", "status": "failed", "attempts": 12, "created_at": NOON, **ids}
    execute_write(sa.insert(WebhookDelivery.__table__).values(values))


def lose_a_payment(world):
    created_at = NOON - timedelta(hours=1)
    execute_write(sa.update(Payment.__table__).values(status="unknown", created_at=created_at))


def hold_billing(world):
    execute_write(sa.update(Subscription.__table__).values(billing_held_at=NOON))


PLANTED = [
    (unbalance_a_journal, "ledger", "error"),
    (forget_the_next_step, "invoices", "error"),
    (charge_twice, "double charges", "error"),
    (change_the_audit_log, "audit log", "error"),
    (disable_an_account, "sessions", "error"),
    (lose_the_worker, "worker", "error"),
    (delay_jobs, "late jobs", "warning"),
    (lambda world: delay_jobs(world, timedelta(hours=2)), "late jobs", "error"),
    (fail_a_job, "failed jobs", "warning"),
    (fail_a_webhook, "webhooks", "warning"),
    (lose_a_payment, "payments", "error"),
    (hold_billing, "billing holds", "warning"),
]


@pytest.mark.parametrize(("plant", "check", "status"), PLANTED)
def test_a_planted_fault_is_found(app, world, plant, check, status):
    with app.app_context():
        plant(world)
    assert examine(world) == {check: status}
    result = app.test_cli_runner().invoke(doctor)
    assert result.exit_code == {"warning": 1, "error": 2}[status]
    assert f"{status.ljust(8)} {check}: " in result.output


def test_a_full_examination_finds_what_a_quick_one_leaves_out(app, world):
    with app.app_context():
        execute_write(sa.update(Invoice.__table__).values(total_minor=999))
        execute_write(sa.text("UPDATE audit_events SET action = 'x' WHERE seq = 1"))
    assert examine(world, full=True)["books"] == "error"
    assert examine(world, full=True)["whole audit log"] == "error"
    assert "books" not in examine(world)


def test_an_old_schema_a_wrong_clock_and_a_full_disk_are_found(world, monkeypatch):
    with world.app.app_context():
        (current,) = fetch_one(sa.text("SELECT version_num FROM alembic_version"))
        set_revision = sa.text("UPDATE alembic_version SET version_num = :revision")
        execute_write(set_revision, {"revision": "0001"})
        try:
            assert examine(world) == {"schema": "error"}
        finally:
            execute_write(set_revision, {"revision": current})
    machine = Machine()
    monkeypatch.setattr(clocks, "machine_clock", machine.start_process())
    machine.set_clock(days=40)
    assert examine(world) == {"clock": "error"}
    machine.set_clock(days=-40)
    monkeypatch.setattr(environment, "LOW_DISK_BYTES", 2**62)
    assert examine(world) == {"disk": "warning"}


def test_a_clock_that_only_the_stored_readings_refute_is_found(world, monkeypatch):
    machine = Machine()
    monkeypatch.setattr(clocks, "machine_clock", machine.start_process())
    with world.app.app_context():
        assert clock_check.check_clock() is None
        (stored,) = fetch_all(sa.select(ClockReading.__table__))
    machine.set_clock(minutes=-70)
    monkeypatch.setattr(clock_check, "read_database_clock", lambda: None)
    monkeypatch.setattr(environment, "read_database_clock", lambda: None)
    monkeypatch.setattr(clocks, "machine_clock", machine.start_process())  # the doctor's, started after the jump
    assert examine(world)["clock"] == "error"
    with world.app.app_context():
        assert fetch_all(sa.select(ClockReading.__table__)) == [stored]


def test_invalid_settings_are_an_error_and_not_a_warning(monkeypatch):
    monkeypatch.setenv("STREAMSVC_WORKERS", "many")
    result = CliRunner().invoke(group, ["doctor", "--json"])
    document = json.loads(result.output)
    assert (result.exit_code, document["exit_code"]) == (2, 2)
    [check] = document["checks"]
    assert (check["check"], check["status"]) == ("settings", "error")
    assert "STREAMSVC_WORKERS" in check["message"]


def run_doctor(monkeypatch, **variables):
    """(exit code, its checks by name) of the command with these variables."""
    for name, value in variables.items():
        monkeypatch.setenv(f"STREAMSVC_{name.upper()}", str(value))
    result = CliRunner().invoke(group, ["doctor", "--json"])
    return result.exit_code, {check["check"]: check for check in json.loads(result.output)["checks"]}


@pytest.mark.one_database
def test_a_database_that_is_down_is_said_once(monkeypatch, tmp_path):
    url = "postgresql://nobody@127.0.0.1:1/none"
    exit_code, checks = run_doctor(monkeypatch, database_url=url, data_dir=tmp_path / "data")
    statuses = {name: check["status"] for name, check in checks.items()}
    assert (exit_code, next(iter(statuses)), statuses["database"]) == (2, "database", "error")
    own = {"database", "settings", "libraries", "disk"}
    assert {status for name, status in statuses.items() if name not in own} == {"skipped"}
    assert "skipped" not in {statuses[name] for name in own}
    advised = [name for name, check in checks.items() if "database" in check["advice"]]
    assert advised == ["database"] and "refused" in checks["database"]["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.one_database
def test_the_doctor_creates_no_file_and_says_which_is_missing(monkeypatch, tmp_path):
    path = tmp_path / "typo" / "service.sqlite3"
    settings = {"database_url": f"sqlite:///{path}", "data_dir": tmp_path / "data"}
    exit_code, checks = run_doctor(monkeypatch, **settings)
    assert (exit_code, list(checks)) == (2, ["database"])
    assert str(path) in checks["database"]["message"] and "streamsvc db upgrade" in checks["database"]["advice"]
    assert list(tmp_path.iterdir()) == []
    path.parent.mkdir()
    path.touch()
    assert run_doctor(monkeypatch, **settings) == (exit_code, checks)
    assert [entry.name for entry in tmp_path.iterdir()] == ["typo"] and path.stat().st_size == 0
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE of_another_program (id INTEGER)")
    exit_code, checks = run_doctor(monkeypatch, **settings)
    statuses = {name: check["status"] for name, check in checks.items()}
    assert (exit_code, statuses["database"], statuses["schema"], statuses["ledger"]) == (2, "ok", "error", "skipped")
    assert {name for name, status in statuses.items() if status == "error"} == {"schema"}
    assert [name for name, check in checks.items() if "db upgrade" in check["advice"]] == ["schema"]


def test_a_long_list_is_counted_to_its_end(app, world):
    with app.app_context():
        row = {"kind": "mail.send", "payload": {}, "attempts": 12, "run_at": NOON, "failed_at": NOON}
        rows = [row | {"id": new_id("job")} for _ in range(1_203)]
        db.session.execute(sa.insert(Job.__table__), rows)
        db.session.commit()
        [finding] = [result for result in run_checks(False) if result.check == "failed jobs"]
    assert finding.message.startswith("1,203 failed for good: mail.send job_") and finding.message.endswith(", …")


def test_a_check_that_fails_itself_is_an_error_and_does_not_stop_the_others(world, monkeypatch):
    def fail(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(environment.shutil, "disk_usage", fail)
    assert examine(world) == {"disk": "error"}


def test_a_library_of_another_version_is_found():
    assert (
        environment.find_unmet_requirements(["flask>=3", "flask<1; python_version<'3'", "stripe<1; extra=='x'"]) == []
    )
    absent, old = environment.find_unmet_requirements(["no-such-library", "flask<1"])
    assert (absent, old[:6]) == ("no-such-library absent", "flask ")


def test_the_connections_of_a_node_are_counted_and_compared(app, world, monkeypatch):
    with app.app_context():
        per_node = environment.connections_per_node()
        assert per_node % (app.extensions["settings"].workers + 1) == 0
        monkeypatch.setattr(environment, "connections_per_node", lambda: 10_000)
    expected = {"connections": "warning"} if db_name(app) == "postgresql" else {}
    assert examine(world) == expected


def db_name(app):
    with app.app_context():
        return db.engine.dialect.name


@pytest.mark.parametrize(
    ("changes", "doubts"),
    [
        ({"env": "production", "stripe_secret_key": "sk_test_1"}, ["MAIL_FROM", "STRIPE_SECRET_KEY"]),
        ({"env": "production", "mail_from": "a@b.de"}, []),
        ({"sandbox": False}, ["ENV"]),
    ],
)
def test_settings_that_are_valid_and_wrong_are_listed(app, changes, doubts):
    found = list_doubtful_settings(app.extensions["settings"].replace(**changes))
    assert [doubt.partition(":")[0] for doubt in found] == [f"STREAMSVC_{name}" for name in doubts]
