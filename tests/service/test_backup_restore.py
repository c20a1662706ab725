"""After a restore: what was deleted, revoked or ended since the backup stays so, and nobody is charged before it is
reconciled; then nobody is charged twice."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from streamsvc import clock as clocks
from streamsvc.cli.backup import backup
from streamsvc.models import Account, ApiKey, OperatorAccount, Passkey, Session, Worker
from streamsvc.models.subscriptions import Refund, Subscription
from streamsvc.operations.backup import tombstones as tombstone_files
from streamsvc.operations.maintenance import clock_check
from streamsvc.operations.operators import people
from streamsvc.operations.outbox import audit
from streamsvc.storage.database import db, execute_write, fetch_all, fetch_one
from streamsvc.worker import jobs
from streamsvc.worker.restore_hold import find_restore_hold, refresh_restore_hold
from tests import conftest
from tests.worlds import sessions_steps
from tests.worlds.backups import KEY, app_on, fail, run, succeed
from tests.worlds.billing_world import World

pytestmark = pytest.mark.every_database
LATER = conftest.NOON + timedelta(days=32)
NAMES = ("kept", "gone", "leaving", "changed", "banned")


@pytest.fixture(scope="module")
def restored(new_app, database, tmp_path_factory):
    """A service that was backed up, went on for a month, and was restored from the backup."""
    made = SimpleNamespace(path=tmp_path_factory.mktemp("restores") / "b", people={}, ids={})
    app = new_app(database, "replaced", clock=conftest.Clock(), deletion_grace_days=14, secret_key=(KEY,))
    made.url = app.extensions["settings"].database_url
    world = World(app)
    price = world.plan("p", 1000)
    made.payer, made.canceler = world.person(), world.person()
    assert made.payer.subscribe(price).status_code == made.canceler.subscribe(price).status_code == 201
    invoke = app.test_cli_runner().invoke
    for name in NAMES:
        made.people[name] = sessions_steps.new_person(app.test_client(), name)
        made.ids[name] = made.people[name].get("/v1/account").json["id"]
    key = world.operator.post("/v1/admin/api-keys", {"name": "leaked", "scopes": ["catalog"]}).json
    made.ids["key"] = key["id"]
    with app.app_context():
        made.ids["operator"] = people.invite_operator("op@example.com", "Op", "support", conftest.NOON, "t")
        for number in (1, 2):
            values = {"id": f"pky_{number}", "credential_id": str(number), "public_key": b"k", "sign_count": 0}
            account = {"account_id": made.ids["kept"], "name": "key", "created_at": conftest.NOON}
            db.session.add(Passkey(**values, **account))
        db.session.commit()
    result = invoke(backup, [str(made.path)])
    assert result.exit_code == 0, (result.output, result.exception)

    world.clock.advance(minutes=1)
    change_everything(made, world)
    world.go_to(LATER)  # a renewal is charged
    assert world.charges() == [1000, 1000, 1000]
    made.invoice_id = made.payer.invoices()[0]["id"]
    refund = world.operator.post(f"/v1/admin/invoices/{made.invoice_id}/refunds", {"amount_minor": 300})
    assert refund.status_code == 201, refund.json
    made.tombstones = made.path.parent / "tombstones"
    result = invoke(backup, ["tombstones", str(made.tombstones)])
    assert result.exit_code == 0, (result.output, result.exception)
    conftest.close_app(app)
    made.dry_run = succeed(made.url, "restore", made.path, "--replace")
    made.output = succeed(made.url, "restore", made.path, "--yes", "--replace")
    return made


def change_everything(made, world):
    """What happens between the backup and the restore."""
    gone, leaving, changed = (made.people[name] for name in ("gone", "leaving", "changed"))
    assert leaving.delete("/v1/account").status_code == 204
    with world.app.app_context():  # still within its grace period when the backup is restored
        execute_write(
            sa.update(Account).where(Account.id == made.ids["leaving"]).values(erase_at=LATER + timedelta(days=9))
        )
    assert gone.delete("/v1/account").status_code == 204
    body = {"current_password": changed.password, "password": "another secret 8"}
    assert changed.put("/v1/account/password", body).status_code == 204
    path = f"/v1/admin/accounts/{made.ids['banned']}"
    assert world.operator.patch(path, {"status": "disabled"}).status_code == 200
    assert world.operator.delete(f"/v1/admin/api-keys/{made.ids['key']}").status_code == 204
    subscription = made.canceler.subscription()["id"]
    assert made.canceler.post(f"/v1/subscriptions/{subscription}/cancellation").status_code in (200, 201)
    made.ids["subscription"] = subscription
    with world.app.app_context():
        people.remove_operator(made.ids["operator"], world.clock())
        db.session.execute(sa.delete(Passkey).where(Passkey.id == "pky_1"))
        audit.record_event("authn_factor_removed", made.ids["kept"], factor="passkey", passkey="pky_1")
        db.session.commit()


@pytest.fixture
def app(restored):
    """An app on the restored database, at the time of the restore."""
    with app_on(restored.url, LATER, deletion_grace_days=14) as app:
        yield app
        with app.app_context():
            db.session.remove()


def select(app, *columns):
    with app.app_context():
        return [tuple(row) for row in fetch_all(sa.select(*columns))]


def test_a_dry_run_says_what_would_be_done(restored):
    assert "Nothing was changed" in restored.dry_run
    for text in ("accounts erased again: 1", "accounts disabled again: 1", "API keys revoked: 1", "on billing hold: 1"):
        assert text in restored.dry_run
        assert text in restored.output


def test_deleted_accounts_stay_deleted(restored, app):
    statuses = dict(select(app, Account.id, Account.status))
    assert {name: statuses[restored.ids[name]] for name in NAMES} == {
        "kept": "active",
        "gone": "deleted",
        "leaving": "deleted",
        "changed": "active",
        "banned": "disabled",
    }
    rows = {row[0]: row[1:] for row in select(app, Account.id, Account.erase_at, Account.email)}
    assert rows[restored.ids["gone"]] == (None, f"{restored.ids['gone']}@deleted.invalid")
    assert rows[restored.ids["leaving"]][0] is not None


def test_all_sessions_end(restored, app):
    client = app.test_client()
    for person in restored.people.values():
        assert client.get("/v1/account", headers={"Authorization": f"Bearer {person.token}"}).status_code == 401
    assert [row for row in select(app, Session.id, Session.service_epoch) if row[1] > 0] == []


def test_changed_passwords_open_nothing(restored, app):
    for name, status in (("changed", 401), ("banned", 403), ("kept", 201)):
        person = sessions_steps.Person(app.test_client(), f"{name}@example.com")
        assert person.sign_in().status_code in (status, 401 if status == 403 else status), name


def test_revoked_credentials_stay_revoked(restored, app):
    assert dict(select(app, ApiKey.id, ApiKey.revoked_at))[restored.ids["key"]] is not None
    assert dict(select(app, OperatorAccount.id, OperatorAccount.status))[restored.ids["operator"]] == "disabled"
    assert select(app, Passkey.id) == [("pky_2",)]


def test_the_service_is_degraded_and_charges_nobody(restored, app):
    world = World(app)
    with app.app_context():
        execute_write(sa.insert(Worker).values(id="w", started_at=clocks.wall_time(), seen_at=clocks.wall_time()))
        jobs.run_due_jobs(LATER, max_jobs=1)
    response = app.test_client().get("/readyz")
    assert (response.status_code, response.json["status"]) == (200, "degraded")
    assert response.json["checks"]["reconciled"] is False
    with app.app_context():
        execute_write(sa.delete(Worker).where(Worker.id == "w"))
        before = fetch_one(sa.select(sa.func.count()).select_from(Subscription))
        assert jobs.find_next_due_job(LATER) is not None
    ann = sessions_steps.new_person(app.test_client(), "late")
    assert ann.post("/v1/payment-methods", {"token": "pm_card_visa"}).status_code == 201
    refused = ann.post("/v1/subscriptions", {"price_id": world.plan("q", 500)}, headers={"Idempotency-Key": "k"})
    assert (refused.status_code, refused.json["code"]) == (503, "unavailable")
    assert "restored from a backup" in refused.json["detail"]
    with app.app_context():
        assert fetch_one(sa.select(sa.func.count()).select_from(Subscription)) == before
    assert "restored from a backup" in fail(restored.url, "billing", "run")


def test_the_hold_is_read_before_the_clock_is_trusted(restored, app, monkeypatch):
    """A process that has just started does not charge until it has read whether it may."""
    app.extensions.pop("restore_hold")
    with app.app_context():
        assert find_restore_hold() is None
    clock_check._try_to_check(app)
    with app.app_context():
        assert find_restore_hold()


def test_subscriptions_that_were_canceled_are_on_hold(restored, app):
    held = select(app, Subscription.id, Subscription.billing_held_at)
    assert [key for key, at in held if at] == [restored.ids["subscription"]]


def test_what_was_charged_and_refunded_is_listed_booked_and_not_charged_again(restored, app):
    result = run(restored.url, "billing", "reconcile")
    assert result.exit_code == 1, (result.output, result.exception)
    assert result.output.count("charged, and the payment is lost") == 1
    assert result.output.count("refund of") == 1
    assert "are not booked" in fail(restored.url, "billing", "reconcile", "--release", "looked at it")
    output = succeed(restored.url, "billing", "reconcile", "--book", "--release", "looked at it")
    assert "released" in output
    with app.app_context():
        assert refresh_restore_hold() is None
        assert [row.amount_minor for row in fetch_all(sa.select(Refund.amount_minor))] == [300]
    world, charges = World(app), len(app_charges(app))
    world.go_to(LATER + timedelta(hours=1))
    assert app_charges(app)[charges:] == [], "the renewal is paid from the credit"
    assert world.differences() == []
    assert "no restore waits" in succeed(restored.url, "billing", "reconcile")


def app_charges(app):
    return World(app).charges()


def test_tombstones_of_a_file_do_the_same_as_those_of_the_replaced_database(restored, new_database, database):
    url = new_database(database, "elsewhere")
    output = succeed(url, "restore", restored.path, "--yes", "--tombstones", restored.tombstones)
    for text in ("accounts erased again: 1", "accounts disabled again: 1", "API keys revoked: 1", "on billing hold: 1"):
        assert text in output
    assert "passwords revoked, to be reset: 1" in output
    assert "not known: what was deleted, revoked or canceled after" in output
    loaded = tombstone_files.load_tombstones(restored.tombstones)
    assert "example.com" not in restored.tombstones.read_text()
    assert restored.ids["gone"] in loaded.erased


def test_other_files_are_no_tombstones(restored, tmp_path):
    (tmp_path / "t").write_text('{"format": "streamsvc tombstones 1", "more": {}}')
    assert "no file of tombstones" in fail(restored.url, "restore", restored.path, "--tombstones", tmp_path / "t")


def test_a_database_restored_by_other_means_is_secured_in_place(restored, new_database, database):
    url = new_database(database, "in_place")
    succeed(url, "restore", restored.path, "--yes")
    as_of = ("--in-place", "--as-of", "2026-01-15T12:00:00Z")
    assert "Nothing was changed" in succeed(url, "restore", *as_of)
    output = succeed(url, "restore", *as_of, "--yes", "--tombstones", restored.tombstones)
    assert "accounts erased again: 1" in output
    assert "in the future" in fail(url, "restore", "--in-place", "--as-of", "2999-01-01T00:00:00Z", "--yes")
    assert run(url, "restore", "--in-place").exit_code == 2
