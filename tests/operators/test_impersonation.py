"""Impersonation of viewers by support: read-only, short-lived and visible to the owner."""

import pytest

from tests.worlds.operator_steps import new_operator
from tests.worlds.sessions_steps import Person, code_of, new_person, operator


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def sam(app):
    """A support operator, signed in."""
    return new_operator(app, "support", "sam")


def account_of(person):
    return person.get("/v1/account").json["id"]


def start(operator, person, reason="ticket 12: a film does not play", **more):
    return operator.post(f"/v1/admin/accounts/{account_of(person)}/impersonations", {"reason": reason} | more)


def impersonate(operator, person):
    """A person with the token of an impersonation session."""
    response = start(operator, person)
    assert response.status_code == 201, response.json
    return Person(person.client, "support", token=response.json["token"])


def test_impersonation_shows_what_the_owner_sees_with_a_notice(ann, sam):
    current = impersonate(sam, ann).get("/v1/sessions/current").json
    assert current["impersonation"] == {"operator": sam.id, "reason": "ticket 12: a film does not play"}
    assert (current["account"]["id"], current["profile"]["name"]) == (account_of(ann), "Me")
    assert ann.get("/v1/sessions/current").json["impersonation"] is None


def test_the_owner_sees_the_impersonation_among_the_sessions_but_not_the_devices(ann, sam):
    impersonate(sam, ann)
    newest, own = ann.get("/v1/sessions").json["items"]
    assert (newest["impersonation"]["operator"], newest["device"]["name"]) == (sam.id, "Support")
    assert (newest["address"], own["impersonation"], len(ann.get("/v1/devices").json["items"])) == (None, None, 1)


def test_impersonation_is_read_only_hides_cards_and_audits_denied_requests(app, ann, sam):
    impersonated = impersonate(sam, ann)
    calls = [
        impersonated.put("/v1/account/password", {"current_password": ann.password, "password": "another secret 8"}),
        impersonated.post("/v1/playback", {"item_id": "ttl_x"}),
        impersonated.delete("/v1/sessions/current"),
        impersonated.get("/v1/payment-methods"),
        impersonated.get("/v1/account/export"),
    ]
    assert [code_of(call) for call in calls] == [(403, "read_only_session")] * 5
    denials = operator(app).get("/v1/admin/audit?action=authz_fail").json["items"]
    assert {(row["actor"], row["account_id"]) for row in denials} == {(sam.id, account_of(ann))} and len(denials) == 5


@pytest.mark.parametrize("end", ["the owner", "the owner ends all others", "support", "time"])
def test_impersonation_ends_on_request_and_expires(ann, sam, clock, end):
    started = start(sam, ann).json
    impersonated = Person(ann.client, "support", token=started["token"])
    clock.advance(minutes=29)
    assert impersonated.get("/v1/sessions/current").status_code == 200
    if end == "the owner":
        assert ann.delete(f"/v1/sessions/{started['session_id']}").status_code == 204
    elif end == "the owner ends all others":
        assert ann.delete("/v1/sessions").status_code == 204
    elif end == "support":
        ended = sam.delete(f"/v1/admin/accounts/{account_of(ann)}/sessions/{started['session_id']}")
        assert ended.status_code == 204
    else:
        clock.advance(minutes=1)
    assert impersonated.get("/v1/sessions/current").status_code == 401
    assert ann.get("/v1/sessions/current").status_code == 200


@pytest.mark.parametrize("change", [{"role": "auditor"}, {"status": "disabled"}])
def test_impersonation_ends_when_its_permission_ends(app, ann, sam, change):
    impersonated = impersonate(sam, ann)
    assert new_operator(app, "admin", "ada").patch(f"/v1/admin/operators/{sam.id}", change).status_code == 200
    assert impersonated.get("/v1/sessions/current").status_code == 401


def test_impersonation_ends_with_its_api_key(app, ann):
    admin = operator(app)
    key = admin.post("/v1/admin/api-keys", {"name": "desk", "scopes": ["support"]}).json
    impersonated = impersonate(Person(ann.client, "desk", token=key["token"]), ann)
    assert impersonated.get("/v1/sessions/current").json["impersonation"]["operator"] == key["id"]
    assert admin.delete(f"/v1/admin/api-keys/{key['id']}").status_code == 204
    assert impersonated.get("/v1/sessions/current").status_code == 401
    assert ann.get("/v1/sessions/current").status_code == 200, "her own session continues"


def test_impersonation_is_audited_with_its_reason(app, ann, sam):
    impersonate(sam, ann)
    [event] = operator(app).get("/v1/admin/audit?action=impersonation_started").json["items"]
    assert (event["actor"], event["account_id"]) == (sam.id, account_of(ann))
    assert event["details"]["reason"] == "ticket 12: a film does not play"


def test_impersonation_requires_a_reason_an_active_account_and_one_of_its_profiles(app, client, ann, sam):
    account = account_of(ann)
    foreign = new_person(client, "bob").get("/v1/profiles").json["items"][0]["id"]
    assert code_of(start(sam, ann, reason=" ")) == (422, "invalid")
    assert code_of(start(sam, ann, profile_id=foreign)) == (404, "not_found")
    assert sam.patch(f"/v1/admin/accounts/{account}", {"status": "disabled"}).status_code == 200
    rejected = sam.post(f"/v1/admin/accounts/{account}/impersonations", {"reason": "why not"})
    assert code_of(rejected) == (409, "account_not_active")
    assert code_of(sam.post("/v1/admin/accounts/acc_x/impersonations", {"reason": "x"})) == (404, "not_found")
