"""A preview of a revocation lists exactly what using the same token then removes, and what stays."""

import re
from dataclasses import replace

import pytest

from streamsvc.operations.credentials.access_history import list_access
from tests.sessions.test_takeovers import LAPTOP, NEW, approve_tv, confirm, register
from tests.worlds.sessions_steps import add_app, mailed_token, mails, new_person, operator, run_jobs

PASSWORD = "another secret 8"
CHANGES = {"email_change", "password_change"}
WAYS = {
    "new_device": "/v1/access-revocations",
    "disowned": "/v1/devices/disowned",
    "factor_added": "/v1/access-revocations",
    "email_undo": "/v1/access-revocations",
    "email_undo_unproven": "/v1/email-verifications",
    "password_reset": "/v1/password-resets",
    "password_reset_since": "/v1/password-resets",
    "password_reset_first_proof": "/v1/password-resets",
    "account_recovery": "/v1/account-recoveries",
    "account_recovery_since": "/v1/account-recoveries",
}


@pytest.fixture
def settings(app):
    former = app.extensions["settings"]
    app.extensions["settings"] = replace(former, usernames=True, phones=True, sms_countries=("DE",))
    yield
    app.extensions["settings"] = former


def add_phone(app, person):
    person.put("/v1/account/phone", {"phone": "+4915112345678"})
    run_jobs(app)
    [sms] = operator(app).get("/v1/sandbox/sms", query_string={"to": "+4915112345678"}).json["items"]
    code = re.search(r"\d{8}", sms["text"])[0]
    assert person.post("/v1/account/phone/verification", {"code": code}).status_code == 200


def active_access(app, account_id, clock):
    with app.app_context():
        entries = list_access(account_id, clock())
    return {(entry.kind, entry.id) for entry in entries if entry.is_active and entry.kind not in CHANGES}


@pytest.mark.parametrize("way", WAYS)
def test_a_preview_is_what_then_happens(app, client, clock, settings, way):
    ann, bob = new_person(client), new_person(client, "bob")
    if way not in ("email_undo_unproven", "password_reset_first_proof"):
        assert confirm(client, mailed_token(app, ann.email, "email_verification"), ann) == 204
    account_id = ann.get("/v1/account").json["id"]
    register(ann)
    assert ann.put("/v1/account/username", {"username": "ann.lee"}).status_code == 200
    clock.advance(hours=1)
    taken_over_at, eve = clock(), ann.again()
    assert eve.sign_in(device=LAPTOP).status_code == 201
    add_phone(app, eve)
    register(eve)
    add_app(eve, clock)
    clock.advance(minutes=2)
    body, start = {}, {}
    match way.removesuffix("_since").removesuffix("_unproven").removesuffix("_first_proof"):
        case "email_undo":
            assert eve.put("/v1/account/email", {"email": NEW}).status_code == 202
            assert confirm(client, mailed_token(app, NEW, "email_change")) == 204
            token = mailed_token(app, ann.email, "email_undo")
        case "password_reset":
            client.post("/v1/password-resets", json={"email": ann.email})
            token, body = mailed_token(app, ann.email, "password_reset"), {"password": PASSWORD}
            if way == "password_reset_since":
                start, body["revoke_access_since"] = {"since": taken_over_at.isoformat()}, taken_over_at.isoformat()
        case "account_recovery":
            since = taken_over_at.isoformat() if way == "account_recovery_since" else None
            path = f"/v1/admin/accounts/{account_id}/recoveries"
            assert operator(app, "support").post(path, {"reason": "stolen", "since": since}).status_code == 201
            clock.advance(hours=72)
            token, body = mailed_token(app, ann.email, "account_recovery"), {"password": PASSWORD}
            text = mails(app, ann.email, "account_recovery")[0]["text"]
            assert ("whenever they were added" in text) == (since is None)
        case kind:
            token = mailed_token(app, ann.email, "new_device" if kind == "disowned" else kind)
    approve_tv(ann)
    before, bobs = active_access(app, account_id, clock), active_access(app, bob.get("/v1/account").json["id"], clock)
    preview = client.post("/v1/access-revocation-previews", json={"token": token, **start})
    assert preview.status_code == 200
    shown = [item for item in preview.json["items"] if item["kind"] not in CHANGES]
    assert {(item["kind"], item["id"]) for item in shown} == before
    assert client.put(WAYS[way], json={"token": token, **body}).status_code == 204
    gone = before - active_access(app, account_id, clock)
    assert {(item["kind"], item["id"]) for item in shown if item["revoked"]} == gone
    assert "device_approval" in {kind for kind, _ in gone}
    assert active_access(app, bob.get("/v1/account").json["id"], clock) == bobs
