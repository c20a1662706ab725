"""`streamsvc doctor` finds nothing in a healthy service, and each fault that is planted."""

import json
from datetime import timedelta

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from streamsvc import clock as clocks
from streamsvc.cli import group
from streamsvc.cli.doctor import doctor
from streamsvc.models import Account, ClockReading, Job, WebhookDelivery, WebhookEndpoint, WebhookEvent, Worker
from streamsvc.models.subscriptions import Invoice, Payment, Subscription
from streamsvc.operations.maintenance import clock_check
from streamsvc.operations.maintenance.doctor import environment
from streamsvc.operations.maintenance.doctor.findings import run_checks
from streamsvc.settings import list_doubtful_settings
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one, new_id
from tests.conftest import NOON
from tests.worlds.billing_world import World
from tests.worlds.machine import Machine

pytestmark = pytest.mark.every_database


@pytest.fixture
def world(app):
    """A service with a paying subscriber and a live worker."""
    world = World(app)
    world.subscriber = world.person()
    assert world.subscriber.subscribe(world.plan("p", 1000)).status_code == 201
    world.go_to(NOON + timedelta(minutes=1))
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
        ({"env": "production", "sandbox": False}, ["MAIL_URL", "MAIL_FROM", "PUBLIC_URL"]),
        ({"env": "production", "mail_url": "smtp://x", "mail_from": "a@b.de", "public_url": "https://x"}, ["SANDBOX"]),
        ({"sandbox": False}, ["ENV"]),
        ({"secret_key": ("0" * 64,)}, ["SECRET_KEY"]),
    ],
)
def test_settings_that_are_valid_and_wrong_are_listed(app, changes, doubts):
    found = list_doubtful_settings(app.extensions["settings"].replace(**changes))
    assert [doubt.partition(":")[0] for doubt in found] == [f"STREAMSVC_{name}" for name in doubts]
