"""A change by an operator that began before its session or API key was revoked does not survive the revocation."""

import threading

import pytest
import sqlalchemy as sa

from streamsvc.gateways.payments.sandbox import SandboxProvider
from streamsvc.models import AuditEvent, Session
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.in_flight import between_authentication_and_view
from tests.worlds.operator_steps import new_operator
from tests.worlds.sessions_steps import code_of, new_person, operator

pytestmark = pytest.mark.every_database
OPERATORS, KEYS = "/v1/admin/operators", "/v1/admin/api-keys"
CHANGES = {
    "api key": lambda staff, account: staff.post(KEYS, {"name": "kept", "scopes": ["admin"]}),
    "operator": lambda staff, account: staff.post(
        OPERATORS, {"email": "eve@example.com", "name": "Eve", "role": "admin"}
    ),
    "account": lambda staff, account: staff.patch(
        f"/v1/admin/accounts/{account}", {"status": "disabled", "reason": "a grudge"}
    ),
    "impersonation": lambda staff, account: staff.post(
        f"/v1/admin/accounts/{account}/impersonations", {"reason": "a last look"}
    ),
}
ENDS = {
    "removed": lambda admin, staff: admin.delete(f"{OPERATORS}/{staff.id}"),
    "disabled": lambda admin, staff: admin.patch(f"{OPERATORS}/{staff.id}", {"status": "disabled"}),
    "demoted": lambda admin, staff: admin.patch(f"{OPERATORS}/{staff.id}", {"role": "auditor"}),
    "reset": lambda admin, staff: admin.post(f"{OPERATORS}/{staff.id}/reset"),
    "signed out": lambda admin, staff: admin.delete(f"{OPERATORS}/{staff.id}/sessions"),
}
PAIRS = [(change, "removed") for change in CHANGES] + [("account", end) for end in ENDS if end != "removed"]


@pytest.fixture
def during_next_request(app):
    with between_authentication_and_view(app) as pending_and_results:
        yield pending_and_results


@pytest.fixture
def admin(app):
    new_operator(app, "admin", "ada")  # so that nobody else is the last admin
    return operator(app)


@pytest.fixture
def account(client):
    return new_person(client).get("/v1/account").json["id"]


def state_of(app, admin, account):
    """What the changes would have changed, with the number of events in the audit log."""
    with app.app_context():
        impersonated = db.session.scalars(sa.select(Session.id).where(Session.impersonated_by.is_not(None))).all()
        kept = db.session.scalar(sa.select(sa.func.count()).where(AuditEvent.action == "operator_call"))
    names = [item["name"] for item in admin.get(KEYS).json["items"]]
    emails = [item["email"] for item in admin.get(OPERATORS).json["items"] if item["email"] == "eve@example.com"]
    return names, emails, admin.get(f"/v1/admin/accounts/{account}").json["status"], impersonated, kept


@pytest.mark.parametrize(("change", "end"), PAIRS)
def test_a_change_does_not_survive_the_end_of_its_operators_session(
    app, admin, account, during_next_request, change, end
):
    pending, results = during_next_request
    staff = new_operator(app, "admin", "mallory")
    before = state_of(app, admin, account)
    pending.append(lambda: ENDS[end](admin, staff))
    refused = CHANGES[change](staff, account)
    assert results[0].status_code in (200, 202, 204)
    assert code_of(refused) == (401, "not_signed_in")
    assert state_of(app, admin, account) == before


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_does_not_survive_the_revocation_of_its_api_key(app, admin, account, during_next_request, change):
    pending, results = during_next_request
    machine = operator(app)
    key_id = admin.get(f"{KEYS}?limit=1").json["items"][0]["id"]
    names, *before = state_of(app, admin, account)
    pending.append(lambda: admin.delete(f"{KEYS}/{key_id}"))
    refused = CHANGES[change](machine, account)
    assert (results[0].status_code, code_of(refused)) == (204, (401, "not_signed_in"))
    assert state_of(app, admin, account) == (names, *before)


def test_operators_may_end_their_own_access(app, admin):
    staff = new_operator(app, "admin", "mallory")
    assert staff.patch(f"{OPERATORS}/{staff.id}", {"role": "support"}).status_code == 200
    assert staff.delete("/v1/admin/sessions/current").status_code == 204
    staff = new_operator(app, "admin", "trudy")
    assert staff.delete(f"{OPERATORS}/{staff.id}").status_code == 204
    machine = operator(app)
    key_id = admin.get(f"{KEYS}?limit=1").json["items"][0]["id"]
    assert (machine.delete(f"{KEYS}/{key_id}").status_code, machine.get(KEYS).status_code) == (204, 401)


def test_support_that_impersonates_a_viewer_commits_nothing(app, admin, account):
    """Such a session is read-only, so no change of it can be in flight when it ends."""
    session = admin.post(f"/v1/admin/accounts/{account}/impersonations", {"reason": "ticket 12"}).json
    support = type(admin)(app.test_client(use_cookies=False), "support", token=session["token"])
    assert code_of(support.patch("/v1/account", {"name": "Mallory"})) == (403, "read_only_session")


def test_a_refund_that_was_sent_is_recorded_even_if_its_api_key_is_revoked(app, monkeypatch):
    world = World(app)
    ann, refund = world.person(), SandboxProvider.refund
    ann.subscribe(world.plan("p", 1000))
    [invoice] = ann.get("/v1/invoices").json["items"]
    machine, admin = operator(app, "billing"), operator(app)
    key_id = admin.get(f"{KEYS}?limit=2").json["items"][1]["id"]

    def refund_meanwhile(*args):
        thread = threading.Thread(target=lambda: admin.delete(f"{KEYS}/{key_id}"))
        thread.start()
        thread.join()
        return refund(*args)

    monkeypatch.setattr(SandboxProvider, "refund", refund_meanwhile)
    headers = {"Idempotency-Key": "once"}
    refunded = machine.post(f"/v1/admin/invoices/{invoice['id']}/refunds", {"reason": "sorry"}, headers=headers)
    assert (refunded.status_code, refunded.json["status"]) == (201, "succeeded")
    assert (machine.get("/v1/admin/invoices").status_code, world.differences()) == (401, [])
