"""Export and erasure of personal data."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.models import Job
from streamsvc.models.subscriptions import Invoice, Subscription
from streamsvc.operations.accounts.personal_data import ANONYMIZED, ERASED, RETAINED_FOR_TAX, ownership_condition
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.sessions_steps import code_of, everything, mailed_token, mails, new_person, operator, run_jobs


@pytest.fixture
def ann(client):
    return new_person(client, name="ann.leaving")


def test_every_table_is_declared_for_erasure():
    owned = {table.name for table in db.metadata.sorted_tables if ownership_condition(table, "acc_x") is not None}
    assert owned - RETAINED_FOR_TAX - ANONYMIZED - ERASED == set()
    assert set() == (RETAINED_FOR_TAX & ERASED) | (RETAINED_FOR_TAX & ANONYMIZED) | (ERASED & ANONYMIZED)


@pytest.mark.every_database
def test_the_export_has_every_row_and_no_secret(app, ann, client):
    bob = new_person(client, "bob")
    ann.post("/v1/profiles", {"name": "Kid"})
    ann.post("/v1/account/totp")
    path = f"/v1/admin/accounts/{ann.get('/v1/account').json['id']}"
    operator(app).patch(path, {"status": "active", "reason": "a call"}, environ_base={"REMOTE_ADDR": "192.0.2.77"})
    response = ann.get("/v1/account/export")
    assert response.status_code == 200 and "attachment" in response.headers["Content-Disposition"]
    tables = response.json["tables"]
    assert [row["name"] for row in tables["profiles"]] == ["Me", "Kid"]
    assert {"accounts", "sessions", "devices", "audit_events", "subscriptions", "invoices"} <= tables.keys()
    text = response.get_data(as_text=True)
    assert "a call" in text and "192.0.2.77" not in text, "the export has what support did, without their address"
    assert bob.email not in text and "argon2" not in text and "_hash" not in text and "_encrypted" not in text


def test_deletion_closes_an_account_at_once_and_reports_until_when_it_can_be_restored(app, ann):
    elsewhere = ann.again()
    elsewhere.sign_in()
    assert ann.delete("/v1/account").status_code == 204
    assert [person.get("/v1/account").status_code for person in (ann, elsewhere)] == [401, 401]
    assert code_of(ann.sign_in()) == (401, "invalid_credentials")
    assert "On January 29, 2026 we erase all" in mails(app, ann.email, "account_restoration")[0]["text"]


def test_the_owner_restores_an_account_once_within_two_weeks(app, ann, clock):
    ann.post("/v1/profiles", {"name": "Kid"})
    before = ann.get("/v1/account").json
    ann.delete("/v1/account")
    token = mailed_token(app, ann.email, "account_restoration")
    clock.advance(days=13)
    restorations = [ann.client.put("/v1/account-restorations", json={"token": token}) for _ in range(2)]
    assert [response.status_code for response in restorations] == [204, 422]
    assert ann.get("/v1/account").status_code == 401
    assert ann.sign_in().status_code == 201
    assert ann.get("/v1/account").json == before, "an address that was never proved is not proved by closing"
    clock.advance(days=2)
    run_jobs(app)
    ann.sign_in()
    assert [profile["name"] for profile in ann.get("/v1/profiles").json["items"]] == ["Me", "Kid"]


def test_deleting_a_restored_account_starts_a_new_grace_period(app, ann, clock):
    ann.delete("/v1/account")
    first = mailed_token(app, ann.email, "account_restoration")
    clock.advance(days=10)
    ann.client.put("/v1/account-restorations", json={"token": first})
    ann.sign_in()
    ann.delete("/v1/account")
    second = mailed_token(app, ann.email, "account_restoration")
    clock.advance(days=5)
    run_jobs(app)
    assert ann.client.put("/v1/account-restorations", json={"token": second}).status_code == 204
    assert ann.sign_in().status_code == 201


@pytest.mark.every_database
def test_after_the_grace_period_no_personal_data_is_left(app, ann, clock):
    ann.post("/v1/profiles", {"name": "Kid"})
    ann.delete("/v1/account")
    token = mailed_token(app, ann.email, "account_restoration")
    clock.advance(days=14)
    late = ann.client.put("/v1/account-restorations", json={"token": token})
    run_jobs(app)
    assert code_of(late) == (422, "token_invalid")
    assert is_mentioned(app, ann) is False


@pytest.mark.every_database
def test_without_a_grace_period_the_account_is_erased_at_once(app, ann, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(deletion_grace_days=0))
    assert ann.delete("/v1/account").status_code == 204
    assert len(mails(app, ann.email, "account_deleted")) == 1
    assert is_mentioned(app, ann) is False


def is_mentioned(app, person):
    """Whether any table but the sandbox's mailbox has the person's email. The audit chain must be intact anyway."""
    assert operator(app).get("/v1/admin/audit/chain").json["first_break"] is None
    with app.app_context():
        db.session.execute(db.metadata.tables["sandbox_emails"].delete())
        db.session.commit()
    return person.email in everything(app)


def test_the_address_is_free_at_once_and_its_new_account_keeps_it(app, ann):
    before = ann.get("/v1/account").json["id"]
    ann.delete("/v1/account")
    token = mailed_token(app, ann.email, "account_restoration")
    assert ann.sign_up().json["account"]["id"] != before
    assert code_of(ann.client.put("/v1/account-restorations", json={"token": token})) == (409, "email_taken")
    ann.delete("/v1/account")
    assert ann.client.put("/v1/account-restorations", json={"token": token}).status_code == 204


def test_a_failed_mail_does_not_keep_the_address(app, ann, clock):
    with app.app_context():
        failed = Job(kind="mail.send", payload={"to": ann.email}, run_at=clock.at, failed_at=clock.at)
        db.session.add(failed)
        db.session.commit()
    ann.delete("/v1/account")
    clock.advance(days=14)
    run_jobs(app)
    assert is_mentioned(app, ann) is False


def test_export_and_deletion_require_recent_authentication(ann, clock):
    clock.advance(minutes=11)
    for response in (ann.get("/v1/account/export"), ann.delete("/v1/account")):
        assert code_of(response) == (403, "reauthentication_required")


def test_deleting_an_account_cancels_its_subscription_and_keeps_its_invoices(app):
    world = World(app)
    ann = world.person()
    ann.subscribe(world.plan("standard", 999))
    assert ann.delete("/v1/account").status_code == 204
    world.go_to("2026-04-01")
    with app.app_context():
        [invoice] = db.session.scalars(sa.select(Invoice))
        [subscription] = db.session.scalars(sa.select(Subscription))
    assert (invoice.status, invoice.total_minor, subscription.status) == ("paid", 999, "canceled")
    assert world.charges() == [999]
    assert world.differences() == []


@pytest.mark.every_database
def test_an_account_is_not_deleted_while_a_payment_is_in_progress(app):
    world = World(app)
    ann = world.person()
    small, large = world.plan("p", 1000, 2000)
    ann.subscribe(small)
    world.next_charge("error")
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/plan-change", {"price_id": large})
    assert code_of(ann.delete("/v1/account")) == (409, "payment_in_progress")
    world.go_to(world.clock.at + timedelta(minutes=1))
    assert ann.delete("/v1/account").status_code == 204
    assert world.differences() == []
