"""Security events: each flow publishes what it did to sessions, credentials and accounts, and a failed one nothing."""

import ast
import json
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
import sqlalchemy as sa

import streamsvc
from streamsvc.models import WebhookDelivery, WebhookEvent
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.operations.outbox.security_events import RETENTION_PERIOD, SECURITY_EVENTS
from streamsvc.rules.security_events import EndReason
from streamsvc.rules.sign_in.device_codes import GRANT_TYPE
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.worlds.authenticator import Authenticator
from tests.worlds.described_client import RECORD_FOLDER
from tests.worlds.sessions_steps import (
    SECRET,
    Person,
    add_app,
    mailed_token,
    new_person,
    operator,
    run_jobs,
    verify,
)

FOLDER = Path(streamsvc.__file__).parent
PUBLISHERS = {
    "authn_factor_added": "publish_factor_added",
    "identity_linked": "publish_factor_added",
    "recovery_codes_made": "publish_factor_added",
    "authn_factor_removed": "publish_factor_removed",
    "identity_unlinked": "publish_factor_removed",
    "credentials_revoked": "publish_factor_removed",
    "authn_password_change": "publish_password_changed",
    "access_revoked": "publish_password_changed",
    "email_changed": "publish_email_changed",
    "email_released": "publish_email_changed",
    "account_closed": "publish_account_deleted",
    "account_deleted": "publish_account_deleted",
    "account_restored": "publish_account_recovered",
    "authn_login_success": "publish_session_started",
    "authn_login_lock": "enqueue_lock_event",
}
"""Action of the audit log: what publishes the same to webhooks, in the same function."""


@pytest.fixture
def app(app_with_provider):
    return app_with_provider


class Events:
    """Reads the list of events, as an operator."""

    def __init__(self, app):
        self.app, self.operator, self.seen = app, operator(app, "support"), set()

    def new(self):
        """The (kind, distinguishing member) of the security events since the last call, sorted."""
        run_jobs(self.app)
        items = self.operator.get("/v1/admin/events?limit=100").json["items"]
        fresh = [item for item in items if item["id"] not in self.seen]
        self.seen |= {item["id"] for item in items}
        self.last = {item["kind"]: item for item in fresh}
        return sorted(_summary(item) for item in fresh if item["kind"] in SECURITY_EVENTS)


def _summary(event):
    data = event["data"]
    return event["kind"], next((data[name] for name in ("reason", "method", "factor") if name in data), None)


@pytest.fixture
def events(app):
    return Events(app)


@pytest.fixture
def ann(app, client, events):
    """Ann, who has confirmed her address."""
    ann = new_person(client)
    verify(app, ann)
    assert events.new() == [("session.started", "sign_up")]
    return ann


def sign_in_again(ann, events, **device):
    other = ann.again()
    assert other.sign_in(device={"name": "Other", "kind": "web", **device}).status_code == 201
    assert events.new() == [("session.started", "password")]
    return other


def test_sign_in_by_every_method_starts_a_session(app, client, ann, events, provider):
    account = ann.get("/v1/account").json["id"]
    phone = Authenticator()
    options = ann.post("/v1/passkeys/options").json
    passkey = ann.post("/v1/passkeys", {"credential": phone.make(options), "name": "Phone"}).json["id"]
    assert events.new() == [("factor.added", "passkey")]
    assert events.last["factor.added"]["data"]["factor_id"] == passkey
    options = client.post("/v1/sessions/passkey-options").json
    assert client.post("/v1/sessions/passkey", json={"credential": phone.sign(options)}).status_code == 201
    assert events.new() == [("session.started", "passkey")]
    binding = client.post("/v1/magic-links", json={"email": ann.email}).json["binding"]
    body = {"token": mailed_token(app, ann.email, "magic_link"), "binding": binding}
    assert client.post("/v1/sessions/magic-link", json=body).status_code == 201
    assert events.new() == [("session.started", "magic_link")]
    codes = client.post("/v1/device-codes", json={"device": {"name": "TV", "kind": "tv"}}).json
    ann.put(f"/v1/device-codes/{codes['user_code']}/decision", {"approve": True})
    form = {"grant_type": GRANT_TYPE, "device_code": codes["device_code"]}
    assert client.post("/v1/token", data=form).status_code == 200
    assert events.new() == [("session.started", "device_code")]
    started = events.last["session.started"]
    assert (started["account_id"], started["data"]["device_kind"], started["data"]["new_device"]) == (
        account,
        "tv",
        True,
    )
    url = ann.post("/v1/identities/options", {"provider": "example"}).json["authorization_url"]
    identity = ann.post("/v1/identities", provider.consent(url)).json["id"]
    assert events.new() == [("factor.added", "provider")]
    options = client.post("/v1/sessions/oidc-options", json={"provider": "example"}).json
    body = provider.consent(options["authorization_url"]) | {"binding": options["binding"]}
    assert client.post("/v1/sessions/oidc", json=body).status_code == 201
    assert events.new() == [("session.started", "example")]
    support = operator(app, "support")
    path = f"/v1/admin/accounts/{account}/impersonations"
    support_id = support.post(path, {"reason": "asked by phone"}).json["session_id"]
    assert events.new() == [("session.started", "impersonation")]
    assert events.last["session.started"]["data"]["session_id"] == support_id
    ann.delete(f"/v1/passkeys/{passkey}")
    ann.delete(f"/v1/identities/{identity}")
    assert events.new() == [("factor.removed", "passkey"), ("factor.removed", "provider")]


def test_every_way_to_end_sessions_says_why(app, ann, events):
    account, admin = ann.get("/v1/account").json["id"], operator(app)
    sign_in_again(ann, events).delete("/v1/sessions/current")
    assert events.new() == [("session.ended", "signed_out")]
    one = sign_in_again(ann, events).get("/v1/sessions/current").json["session"]
    ann.delete(f"/v1/sessions/{one['id']}")
    assert events.new() == [("session.ended", "ended_by_owner")]
    assert events.last["session.ended"]["data"]["device_id"] == one["device"]["id"]
    sign_in_again(ann, events), sign_in_again(ann, events)
    ann.delete("/v1/sessions")
    assert events.new() == [("session.ended", "ended_by_owner")] * 2
    device = sign_in_again(ann, events).get("/v1/sessions/current").json["session"]["device"]["id"]
    ann.delete(f"/v1/devices/{device}")
    assert events.new() == [("session.ended", "device_removed")]
    one = sign_in_again(ann, events).get("/v1/sessions/current").json["session"]["id"]
    admin.delete(f"/v1/admin/accounts/{account}/sessions/{one}")
    assert events.new() == [("session.ended", "ended_by_operator")]
    sign_in_again(ann, events)
    ann.put("/v1/account/password", {"current_password": SECRET, "password": "another secret 8"})
    assert events.new() == [("password.changed", "changed"), ("session.ended", "password_changed")]
    admin.patch(f"/v1/admin/accounts/{account}", {"status": "disabled"})
    assert events.new() == [("account.locked", "disabled"), ("session.ended", "account_disabled")]
    admin.patch(f"/v1/admin/accounts/{account}", {"status": "active"})
    ann.password = "another secret 8"
    sign_in_again(ann, events)
    admin.delete(f"/v1/admin/accounts/{account}/sessions")
    assert events.new() == [("session.ended", "ended_by_operator")]
    key = admin.post("/v1/admin/api-keys", {"name": "desk", "scopes": ["support"]}).json
    desk = Person(ann.client, "desk", token=key["token"])
    desk.post(f"/v1/admin/accounts/{account}/impersonations", {"reason": "asked by phone"})
    admin.delete(f"/v1/admin/api-keys/{key['id']}")
    assert events.new() == [("session.ended", "impersonation_ended"), ("session.started", "impersonation")]


def test_a_session_that_expires_does_not_end(app, ann, events, clock):
    sign_in_again(ann, events)
    clock.advance(days=400)
    operator(app).delete(f"/v1/admin/accounts/{account_of(app, ann)}/sessions")
    assert events.new() == []


def account_of(app, person):
    return operator(app).get(f"/v1/admin/accounts?email={person.email}").json["items"][0]["id"]


def test_recovery_and_deletion(app, client, ann, events, clock):
    client.post("/v1/password-resets", json={"email": ann.email})
    body = {"token": mailed_token(app, ann.email, "password_reset"), "password": "another secret 8"}
    assert client.put("/v1/password-resets", json=body).status_code == 204
    reset = [
        ("account.recovered", "password_reset"),
        ("password.changed", "reset"),
        ("session.ended", "password_reset"),
    ]
    assert events.new() == reset
    ann.password = "another secret 8"
    other = sign_in_again(ann, events)
    disowned = {"token": mailed_token(app, ann.email, "new_device")}
    assert client.put("/v1/devices/disowned", json=disowned).status_code == 204
    assert events.new() == [
        ("account.recovered", "device_disowned"),
        ("password.changed", "cleared"),
        ("session.ended", "device_disowned"),
    ]
    body = {"token": mailed_token(app, ann.email, "password_reset"), "password": SECRET}
    assert client.put("/v1/password-resets", json=body).status_code == 204
    ann.password = SECRET
    events.new()
    other = sign_in_again(ann, events)
    add_app(other, clock)
    assert events.new() == [("factor.added", "recovery_codes"), ("factor.added", "totp")]
    other.put("/v1/account/email", {"email": "moved@example.com"})
    other.client.put("/v1/email-verifications", json={"token": mailed_token(app, "moved@example.com", "email_change")})
    assert events.new() == [("email.changed", None)]
    client.put("/v1/email-verifications", json={"token": mailed_token(app, ann.email, "email_undo")})
    assert events.new() == [
        ("account.recovered", "email_change_undone"),
        ("email.changed", None),
        ("factor.removed", "recovery_codes"),
        ("factor.removed", "totp"),
        ("password.changed", "cleared"),
        ("session.ended", "email_change_undone"),
    ]
    assert events.last["email.changed"]["data"] == {"undone": True}
    assert "@" not in json.dumps(events.operator.get("/v1/admin/events?limit=100").json)
    body = {"token": mailed_token(app, ann.email, "password_reset"), "password": SECRET}
    assert client.put("/v1/password-resets", json=body).status_code == 204
    events.new()


def test_each_way_to_revoke_access_says_why(app, client, ann, events, clock, provider):
    eve = sign_in_again(ann, events)
    eve.post("/v1/passkeys", {"credential": Authenticator().make(eve.post("/v1/passkeys/options").json)})
    url = eve.post("/v1/identities/options", {"provider": "example"}).json["authorization_url"]
    assert eve.post("/v1/identities", provider.consent(url)).status_code == 201
    clock.advance(minutes=1)
    assert events.new() == [("factor.added", "passkey"), ("factor.added", "provider")]
    link = {"token": mailed_token(app, ann.email, "factor_added")}
    assert client.put("/v1/access-revocations", json=link).status_code == 204
    assert events.new() == [
        ("account.recovered", "factor_disowned"),
        ("factor.removed", "passkey"),
        ("factor.removed", "provider"),
        ("password.changed", "cleared"),
        ("session.ended", "factor_disowned"),
    ]
    squatter = new_person(client, "bob")
    assert events.new() == [("session.started", "sign_up")]
    proof = {"token": mailed_token(app, squatter.email, "email_verification")}
    assert client.put("/v1/email-verifications", json=proof).status_code == 204
    assert events.new() == [
        ("account.recovered", "address_proved"),
        ("password.changed", "cleared"),
        ("session.ended", "address_proved"),
    ]


def test_a_recovery_by_support_is_published(app, client, ann, events, clock):
    body = {"reason": "the owner called", "since": None}
    path = f"/v1/admin/accounts/{account_of(app, ann)}/recoveries"
    assert operator(app, "support").post(path, body).status_code == 201
    clock.advance(days=8)
    assert events.new() == []
    body = {"token": mailed_token(app, ann.email, "account_recovery"), "password": "another secret 8"}
    assert client.put("/v1/account-recoveries", json=body).status_code == 204
    assert events.new() == [
        ("account.recovered", "support_recovery"),
        ("password.changed", "cleared"),
        ("password.changed", "reset"),
        ("session.ended", "support_recovery"),
    ]


def test_deletion_and_restoration(app, client, ann, events, clock):
    secret = add_app(ann, clock)
    clock.advance(seconds=STEP_S)
    ann.post("/v1/sessions/current/reauthentication", {"totp": totp_code(secret, int(clock.at.timestamp()) // STEP_S)})
    ann.delete("/v1/account/totp")
    expected = [("factor.added", "recovery_codes"), ("factor.added", "totp")]
    assert events.new() == [*expected, ("factor.removed", "recovery_codes"), ("factor.removed", "totp")]
    assert ann.delete("/v1/account").status_code == 204
    assert events.new() == [("account.deleted", None), ("session.ended", "account_closed")]
    assert events.last["account.deleted"]["data"]["erase_at"]
    token = mailed_token(app, ann.email, "account_restoration")
    assert client.put("/v1/account-restorations", json={"token": token}).status_code == 204
    assert events.new() == [("account.recovered", "account_restored")]
    ann = sign_in_again(ann, events)
    ann.delete("/v1/account")
    events.new()
    clock.advance(days=15)
    assert events.new() == [("account.deleted", None)]
    assert events.last["account.deleted"]["data"] == {"erase_at": None}


def test_failed_attempts_lock_the_account_they_are_for_alone(app, client, ann, events):
    for name in ("ann", "nobody"):
        for attempt in range(5):
            sent = {"REMOTE_ADDR": f"203.0.113.{attempt}"}
            body = {"email": f"{name}@example.com", "password": "a wrong one"}
            assert client.post("/v1/sessions", json=body, environ_base=sent).status_code == 401
    assert events.new() == [("account.locked", "too_many_attempts")]
    locked = events.last["account.locked"]
    assert (locked["account_id"], locked["data"]["limit"]) == (ann.get("/v1/account").json["id"], "sign_in.account")


def test_what_is_rolled_back_publishes_nothing(app, client, ann, events, monkeypatch):
    new_person(client, "bob")
    ann.put("/v1/account/email", {"email": "bob@example.com"})
    events.new()
    token = mailed_token(app, "bob@example.com", "email_change")
    assert client.put("/v1/email-verifications", json={"token": token}).status_code == 409
    phone = Authenticator()
    options = ann.post("/v1/passkeys/options").json
    credential = phone.make(options)
    assert ann.post("/v1/passkeys", {"credential": credential, "name": "a"}).status_code == 201
    assert events.new() == [("factor.added", "passkey")]
    assert ann.post("/v1/passkeys", {"credential": credential, "name": "b"}).status_code == 422
    monkeypatch.setattr("streamsvc.blueprints.sessions.sessions.sign_in_response", None)
    undescribed = pytest.raises(AssertionError, match="createSession 500")
    with nullcontext() if RECORD_FOLDER else undescribed:  # a fault after the session was written
        ann.again().sign_in()
    assert events.new() == []


def test_old_security_events_are_purged_with_their_deliveries(app, ann, events, clock):
    admin = operator(app)
    admin.post("/v1/admin/webhook-endpoints", {"url": "https://hooks.example.com/x", "kinds": ["session.started"]})
    assert ann.again().sign_in().status_code == 201
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(WebhookDelivery)) == 1
        db.session.commit()
        for age, left in ((RETENTION_PERIOD, 2), (RETENTION_PERIOD + timedelta(seconds=1), 0)):
            purge_expired_data({}, clock.at + age)
            assert db.session.scalar(sa.select(sa.func.count()).select_from(WebhookEvent)) == left
            db.session.commit()


def functions(*words):
    """The functions of modules that contain one of the words."""
    for path in [*(FOLDER / "operations").rglob("*.py"), *(FOLDER / "blueprints").rglob("*.py")]:
        text = path.read_text()
        if path.parent.name != "operators" and path.name != "audit.py" and any(word in text for word in words):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef):
                    yield path, node


def called_names(node):
    calls = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
    return {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in calls}


def test_what_the_audit_log_records_is_published_by_the_same_function():
    published = set()
    for path, function in functions(*PUBLISHERS):
        texts = {node.value for node in ast.walk(function) if isinstance(node, ast.Constant)}
        for action in texts & PUBLISHERS.keys() if "record_event" in called_names(function) else ():
            assert PUBLISHERS[action] in called_names(function), f"{path.name}: {function.name} records {action}"
            published.add(action)
    assert published == PUBLISHERS.keys()


def test_sessions_are_ended_in_one_place_alone():
    """Every other function would end them without an event."""
    writers = {
        path.name
        for path, node in functions("ended_at=now")
        if "ended_at=now" in ast.unparse(node) and "Session" in ast.unparse(node)
    }
    assert writers == {"sessions.py"}, "use operations/credentials/sessions.py"
    assert len(get_args(EndReason)) == 15
