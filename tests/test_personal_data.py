"""Telling somebody all that is kept about them, and erasing it."""

import pytest
import sqlalchemy as sa

from streamsvc.database import db
from streamsvc.models.subscriptions import Invoice, Subscription
from streamsvc.operations.personal_data import EMPTIED, ERASED, KEPT_FOR_TAX, owned_by
from tests.billing_world import World
from tests.sessions_steps import code_of, everything, mails, new_person, operator


@pytest.fixture
def ann(client):
    return new_person(client, name="ann.who.leaves")


def test_what_happens_to_each_table_is_said():
    about_people = {table.name for table in db.metadata.sorted_tables if owned_by(table, "acc_x") is not None}
    assert about_people - KEPT_FOR_TAX - EMPTIED - ERASED == set()
    assert set() == (KEPT_FOR_TAX & ERASED) | (KEPT_FOR_TAX & EMPTIED) | (ERASED & EMPTIED)


def test_the_export_tells_everything_and_no_secret(app, ann, client):
    bob = new_person(client, "bob")
    ann.post("/v1/profiles", {"name": "Kid"})
    ann.post("/v1/account/totp")
    answer = ann.get("/v1/account/export")
    assert answer.status_code == 200 and "attachment" in answer.headers["Content-Disposition"]
    tables = answer.json["tables"]
    assert [row["name"] for row in tables["profiles"]] == ["Me", "Kid"]
    assert {"accounts", "sessions", "devices", "audit_events", "subscriptions", "invoices"} <= tables.keys()
    text = answer.get_data(as_text=True)
    assert bob.email not in text and "argon2" not in text and "_hash" not in text and "sealed" not in text


def test_erasure_leaves_nothing_of_the_person(app, ann):
    ann.post("/v1/profiles", {"name": "Kid"})
    assert ann.delete("/v1/account").status_code == 204
    assert ann.get("/v1/account").status_code == 401
    assert code_of(ann.sign_in()) == (401, "invalid_credentials")
    assert len(mails(app, ann.email, "account_deleted")) == 1
    with app.app_context():
        for table in ("jobs", "sandbox_emails"):
            db.session.execute(db.metadata.tables[table].delete())
        db.session.commit()
    assert ann.email not in everything(app)
    assert operator(app).get("/v1/admin/audit/chain").json["first_break"] is None


def test_the_address_is_free_again(ann):
    before = ann.get("/v1/account").json["id"]
    ann.delete("/v1/account")
    assert ann.sign_up().json["account"]["id"] != before


def test_both_need_a_recent_proof(ann, clock):
    clock.advance(minutes=11)
    for answer in (ann.get("/v1/account/export"), ann.delete("/v1/account")):
        assert code_of(answer) == (403, "reauthentication_required")


def test_deleting_an_account_ends_its_subscription_and_keeps_its_invoices(app):
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
