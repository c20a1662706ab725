"""A change that began before its session was ended does not survive what ended it."""

import threading
from dataclasses import replace

import pytest

from streamsvc.gateways.payments.sandbox import SandboxProvider
from tests.worlds.billing_world import World
from tests.worlds.in_flight import between_authentication_and_view
from tests.worlds.sessions_steps import new_person, operator, verify

pytestmark = pytest.mark.every_database
PASSWORD = "eleven quiet owls"
CHANGES = {
    "password": lambda thief: thief.put(
        "/v1/account/password", {"current_password": thief.password, "password": PASSWORD}
    ),
    "username": lambda thief: thief.put("/v1/account/username", {"username": "thief"}),
    "authenticator": lambda thief: thief.post("/v1/account/totp"),
    "email": lambda thief: thief.put("/v1/account/email", {"email": "thief@example.com"}),
    "name": lambda thief: thief.patch("/v1/account", {"name": "Thief"}),
    "profile": lambda thief: thief.post("/v1/profiles", {"name": "Thief"}),
}
ENDS = {
    "sign out elsewhere": lambda app, ann: ann.delete("/v1/sessions"),
    "everybody": lambda app, ann: operator(app).post("/v1/admin/session-revocations", {"reason": "stolen"}),
    "password": lambda app, ann: ann.put(
        "/v1/account/password", {"current_password": ann.password, "password": "the owner is back 7"}
    ),
}


@pytest.fixture
def ann(app):
    settings = app.extensions["settings"]
    app.extensions["settings"] = replace(settings, usernames=True)
    ann = new_person(app.test_client(use_cookies=False))
    verify(app, ann)
    yield ann
    app.extensions["settings"] = settings


@pytest.fixture
def during_next_request(app):
    with between_authentication_and_view(app) as pending_and_results:
        yield pending_and_results


def sign_in_elsewhere(app, ann):
    thief = type(ann)(app.test_client(use_cookies=False), ann.email, ann.password)
    thief.sign_in(device={"name": "Thief", "kind": "web"})
    return thief


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_flight_does_not_survive_the_end_of_its_session(app, ann, during_next_request, change, end):
    pending, results = during_next_request
    thief = sign_in_elsewhere(app, ann)
    before = [ann.get(path).json for path in ("/v1/account", "/v1/profiles", "/v1/account/identifiers")]
    pending.append(lambda: ENDS[end](app, ann))
    response = CHANGES[change](thief)
    assert results[0].status_code in (200, 201, 204)
    assert (response.status_code, response.json["code"]) == (401, "not_signed_in")
    if end == "password":
        ann.password = "the owner is back 7"
    assert ann.sign_in().status_code == 201
    assert [ann.get(path).json for path in ("/v1/account", "/v1/profiles", "/v1/account/identifiers")] == before


def test_who_signs_out_ends_their_own_session(ann):
    assert ann.delete("/v1/sessions/current").status_code == 204
    assert ann.get("/v1/account").status_code == 401


def test_a_payment_that_was_sent_is_recorded_even_if_its_session_ends(app, monkeypatch):
    world = World(app)
    ann, charge = world.person(), SandboxProvider.charge
    price = world.plan("p", 1000)

    def charge_meanwhile(*args):
        thread = threading.Thread(target=lambda: operator(app).delete(f"/v1/admin/accounts/{ann.id}/sessions"))
        thread.start()
        thread.join()
        return charge(*args)

    monkeypatch.setattr(SandboxProvider, "charge", charge_meanwhile)
    assert ann.subscribe(price).status_code == 201
    assert ann.get("/v1/account").status_code == 401
    ann.sign_in()
    assert (ann.subscription()["status"], world.charges(), world.differences()) == ("active", [1000], [])
