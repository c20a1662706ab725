"""The audit log names each change of an account, its profiles and its operators, and each request for a credential."""

import pytest
import sqlalchemy as sa

from streamsvc.models import AuditEvent
from streamsvc.storage.database import db
from tests.worlds.operator_steps import invited, new_operator
from tests.worlds.sessions_steps import mailed_token, new_person, operator, run_jobs

NEW = "ann@elsewhere.example"
PIN = "1234"


@pytest.fixture
def audited(app):
    """Call the function, run the jobs, and return what that added to the audit log: {action: account ID}."""

    def count():
        with app.app_context():
            return db.session.scalar(sa.select(sa.func.max(AuditEvent.seq))) or 0

    def call(act, *arguments, expected=range(200, 300), **more):
        before = count()
        response = act(*arguments, **more)
        assert response.status_code in expected, response.json
        run_jobs(app)
        with app.app_context():
            added = sa.select(AuditEvent.action, AuditEvent.account_id).where(AuditEvent.seq > before)
            return dict(db.session.execute(added).all())

    return call


@pytest.fixture
def ann(app, monkeypatch):
    settings = app.extensions["settings"].replace(usernames=True, phones=True, sms_countries=("DE",))
    monkeypatch.setitem(app.extensions, "settings", settings)
    ann = new_person(app.test_client())
    ann.id = ann.get("/v1/account").json["id"]
    return ann


def test_changes_of_an_account_and_its_profiles_are_recorded(ann, audited):
    guest = ann.post("/v1/profiles", {"name": "Guest"}).json["id"]
    path = f"/v1/profiles/{guest}"
    for action, act, *arguments in (
        ("account_changed", ann.patch, "/v1/account", {"name": "Ann B."}),
        ("profile_created", ann.post, "/v1/profiles", {"name": "Third"}),
        ("profile_changed", ann.patch, path, {"name": "Other"}),
        ("profile_selected", ann.patch, "/v1/sessions/current", {"profile_id": guest}),
        ("profile_pin_changed", ann.put, f"{path}/pin", {"pin": "1234"}),
        ("profile_restricted", ann.put, f"{path}/restrictions", {"blocked": {"titles": [], "genres": [], "tags": []}}),
        ("profile_offered", ann.post, f"{path}/transfers", {"email": "bob@example.com"}),
        ("profile_deleted", ann.delete, path),
        ("profile_restored", ann.post, f"{path}/restoration"),
        ("username_set", ann.put, "/v1/account/username", {"username": "ann.lee"}),
        ("username_removed", ann.delete, "/v1/account/username"),
        ("phone_verification_asked", ann.put, "/v1/account/phone", {"phone": "+4915112345678"}),
        ("email_change_asked", ann.put, "/v1/account/email", {"email": NEW}),
    ):
        assert audited(act, *arguments).get(action) == ann.id, action


def test_requests_for_credentials_and_wrong_ones_are_recorded(app, ann, audited):
    wrong = {"password": "a wrong password"}
    for action, path, body in (
        ("email_verification_asked", "/v1/email-verifications", None),
        ("authn_password_reset_asked", "/v1/password-resets", {"email": ann.email}),
        ("authn_magic_link_asked", "/v1/magic-links", {"email": ann.email}),
    ):
        assert audited(ann.post, path, body).get(action) == ann.id, action
    failed = audited(ann.post, "/v1/sessions/current/reauthentication", wrong, expected={401, 403, 422})
    assert failed.get("reauthn_fail") == ann.id


def test_a_recovery_is_recorded_from_its_start_to_the_revocation_of_access(app, ann, clock, audited):
    support, path = operator(app), f"/v1/admin/accounts/{ann.id}/recoveries"
    assert audited(support.post, path, {"reason": "locked out"}).get("recovery_started") == ann.id
    [recovery] = support.get(path).json["items"]
    assert audited(support.delete, f"{path}/{recovery['id']}").get("recovery_canceled") == ann.id
    assert support.post(path, {"reason": "locked out"}).status_code == 201
    clock.advance(hours=72)
    token = mailed_token(app, ann.email, "account_recovery")
    finished = audited(ann.client.put, "/v1/account-recoveries", json={"token": token, "password": "another secret 8"})
    assert (finished.get("account_recovered"), finished.get("access_revoked")) == (ann.id, ann.id)


def test_an_erased_account_is_recorded(app, ann, audited, monkeypatch):
    monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(deletion_grace_days=0))
    assert audited(ann.delete, "/v1/account").get("account_deleted") == ann.id


def test_changes_of_operators_and_their_keys_are_recorded(app, audited):
    admin = new_operator(app, "admin")
    bob = invited(app, "support", "bob", by=admin)
    key = admin.post("/v1/admin/api-keys", {"name": "web", "scopes": ["frontend"]}).json["id"]
    new = {"email": "eve@example.com", "name": "Eve", "role": "support"}
    for action, act, *arguments in (
        ("operator_invited", admin.post, "/v1/admin/operators", new),
        ("operator_enrolled", bob.accept, mailed_token(app, bob.email, "operator_invitation")),
        ("operator_reset", admin.post, f"/v1/admin/operators/{bob.id}/reset"),
        ("operator_removed", admin.delete, f"/v1/admin/operators/{bob.id}"),
        ("api_key_revoked", admin.delete, f"/v1/admin/api-keys/{key}"),
    ):
        assert action in audited(act, *arguments), action
