"""Recoveries of accounts: support starts them, everybody concerned hears of them, and only the owner finishes them."""

import pytest

from tests.worlds.sessions_steps import (
    Person,
    add_app,
    code_of,
    mailed_token,
    mails,
    new_person,
    operator,
    run_jobs,
    verify,
)

NEW = "eve@elsewhere.example"
PASSWORD = "another secret 8"


@pytest.fixture
def ann(app, client, clock):
    ann = new_person(client)
    verify(app, ann)
    ann.id = ann.get("/v1/account").json["id"]
    clock.advance(hours=1)
    return ann


@pytest.fixture
def eve(app, ann, clock):
    """The intruder, who took the account over so long ago that no link in a mail is valid any more."""
    ann.taken_over_at = clock.at.isoformat()
    eve = ann.again()
    eve.sign_in(device={"name": "A laptop", "kind": "web"})
    add_app(eve, clock)
    assert eve.put("/v1/account/email", {"email": NEW}).status_code == 202
    assert confirm(eve.client, mailed_token(app, NEW, "email_change")) == 204
    eve.email = NEW
    change = {"current_password": ann.password, "password": "an intruder's password 7"}
    assert eve.put("/v1/account/password", change).status_code == 204
    clock.advance(days=8)
    return eve


def confirm(client, token):
    return client.put("/v1/email-verifications", json={"token": token}).status_code


def start(app, ann, scope="support", **body):
    path = f"/v1/admin/accounts/{ann.id}/recoveries"
    return operator(app, scope).post(path, {"reason": "locked out", **body})


def finish(client, token):
    return client.put("/v1/account-recoveries", json={"token": token, "password": PASSWORD})


def status_of(app, ann):
    return operator(app, "support").get(f"/v1/admin/accounts/{ann.id}/recoveries").json["items"][0]["status"]


def test_the_owner_gets_the_account_back_after_the_wait_and_never_before(app, client, ann, eve, clock):
    started = start(app, ann, since=ann.taken_over_at)
    assert (started.status_code, started.json["status"], started.json["email"]) == (201, "waiting", ann.email)
    assert [len(mails(app, email, "recovery_notice")) for email in (ann.email, NEW)] == [1, 1]
    clock.advance(hours=71)
    run_jobs(app)
    assert mails(app, ann.email, "account_recovery") == [] and eve.get("/v1/account").status_code == 200
    clock.advance(hours=1)
    token = mailed_token(app, ann.email, "account_recovery")
    assert mails(app, NEW, "account_recovery") == []
    preview = client.post("/v1/access-revocation-previews", json={"token": token}).json["items"]
    assert {(item["kind"], item["revoked"]) for item in preview} >= {("authenticator", True), ("session", True)}
    assert [finish(client, token).status_code for _ in range(2)] == [204, 422]
    assert status_of(app, ann) == "completed"
    owner = Person(client, ann.email, PASSWORD)
    assert owner.sign_in().status_code == 201 and owner.get("/v1/account").json["email"] == ann.email
    assert eve.get("/v1/account").status_code == 401
    assert code_of(eve.sign_in()) == (401, "invalid_credentials")
    assert owner.get("/v1/account/recoveries").json["items"][0]["status"] == "completed"
    assert start(app, ann).status_code == 201
    assert [len(mails(app, email, "recovery_notice")) for email in (ann.email, NEW)] == [2, 2]


@pytest.mark.parametrize("by", ["session", "link", "operator"])
def test_a_recovery_can_be_canceled_until_it_is_finished(app, client, ann, clock, by):
    bob = new_person(client, "bob")
    recovery_id = start(app, ann).json["id"]
    own, admin = (f"/v1/{path}/recoveries/{recovery_id}" for path in ("account", f"admin/accounts/{ann.id}"))
    assert code_of(bob.delete(own)) == (404, "not_found")
    notice = mailed_token(app, ann.email, "recovery_notice")
    clock.advance(hours=72)
    token = mailed_token(app, ann.email, "account_recovery")
    cancel = {
        "session": lambda: ann.delete(own),
        "link": lambda: client.put("/v1/account-recovery-cancellations", json={"token": notice}),
        "operator": lambda: operator(app, "support").delete(admin),
    }[by]
    assert [cancel().status_code for _ in range(2)] == [204, 422 if by == "link" else 404]
    assert code_of(finish(client, token)) == (422, "token_invalid")
    assert status_of(app, ann) == "canceled" and ann.get("/v1/account").status_code == 200
    assert start(app, ann).status_code == 201


def test_an_intruder_cannot_cancel_what_only_older_access_can(app, client, ann, eve, clock):
    body = {"since": ann.taken_over_at, "only_older_can_cancel": True}
    assert code_of(start(app, ann, only_older_can_cancel=True)) == (422, "invalid")
    recovery_id = start(app, ann, **body).json["id"]
    assert code_of(eve.delete(f"/v1/account/recoveries/{recovery_id}")) == (403, "session_too_new")
    assert "token=" not in mails(app, NEW, "recovery_announced")[0]["text"] and not mails(app, NEW, "recovery_notice")
    clock.advance(hours=72)
    assert finish(client, mailed_token(app, ann.email, "account_recovery")).status_code == 204


def test_support_cannot_start_a_second_recovery_or_one_of_a_disabled_account(app, client, ann, clock):
    assert start(app, ann, scope="billing").status_code == 403
    assert start(app, ann).status_code == 201
    assert code_of(start(app, ann)) == (409, "recovery_pending")
    clock.advance(hours=72)
    token = mailed_token(app, ann.email, "account_recovery")
    assert operator(app).patch(f"/v1/admin/accounts/{ann.id}", {"status": "disabled"}).status_code == 200
    assert code_of(finish(client, token)) == (422, "token_invalid")
    assert code_of(start(app, ann)) == (409, "account_not_active")


def test_a_recovery_brings_back_an_account_that_the_intruder_deleted(app, client, ann, eve, clock):
    code = {"password": "an intruder's password 7"}
    assert eve.post("/v1/sessions/current/reauthentication", code).status_code == 204
    assert eve.delete("/v1/account").status_code == 204
    clock.advance(days=13)
    assert start(app, ann, since=ann.taken_over_at).status_code == 201
    clock.advance(hours=72)
    run_jobs(app)
    assert finish(client, mailed_token(app, ann.email, "account_recovery")).status_code == 204
    assert Person(client, ann.email, PASSWORD).sign_in().status_code == 201
    assert start(app, ann).status_code == 201
    assert mails(app, f"{ann.id}@deleted.invalid") == []
