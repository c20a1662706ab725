"""Support looks on as a viewer: reads, changes nothing, ends soon, and the owner knows."""

import pytest

from tests.worlds.operator_steps import new_operator
from tests.worlds.sessions_steps import Person, code_of, new_person, operator


@pytest.fixture
def ann(client):
    return new_person(client)


@pytest.fixture
def sam(app):
    """Somebody of support, signed in."""
    return new_operator(app, "support", "sam")


def account_of(person):
    return person.get("/v1/account").json["id"]


def begin(who, person, reason="ticket 12: a film does not play", **more):
    return who.post(f"/v1/admin/accounts/{account_of(person)}/impersonations", {"reason": reason} | more)


def looking_on(who, person):
    answer = begin(who, person)
    assert answer.status_code == 201, answer.json
    return Person(person.client, "support", token=answer.json["token"])


def test_support_sees_what_the_owner_sees_with_a_banner(ann, sam):
    seen = looking_on(sam, ann).get("/v1/sessions/current").json
    assert seen["impersonation"] == {"operator": sam.id, "reason": "ticket 12: a film does not play"}
    assert (seen["account"]["id"], seen["profile"]["name"]) == (account_of(ann), "Me")
    assert ann.get("/v1/sessions/current").json["impersonation"] is None


def test_the_owner_finds_it_among_the_sessions_and_not_among_the_devices(ann, sam):
    looking_on(sam, ann)
    newest, own = ann.get("/v1/sessions").json["items"]
    assert (newest["impersonation"]["operator"], newest["device"]["name"]) == (sam.id, "Support")
    assert (newest["address"], own["impersonation"], len(ann.get("/v1/devices").json["items"])) == (None, None, 1)


def test_who_looks_on_changes_nothing_and_sees_no_card_and_each_try_is_told(app, ann, sam):
    there = looking_on(sam, ann)
    calls = [
        there.put("/v1/account/password", {"current_password": ann.password, "password": "another secret 8"}),
        there.post("/v1/playback", {"item_id": "ttl_x"}),
        there.delete("/v1/sessions/current"),
        there.get("/v1/payment-methods"),
        there.get("/v1/account/export"),
    ]
    assert [code_of(call) for call in calls] == [(403, "read_only_session")] * 5
    told = operator(app).get("/v1/admin/audit?action=authz_fail").json["items"]
    assert {(row["actor"], row["account_id"]) for row in told} == {(sam.id, account_of(ann))} and len(told) == 5


@pytest.mark.parametrize("end", ["the owner", "the owner ends all others", "support", "time"])
def test_it_ends_on_demand_and_by_itself(ann, sam, clock, end):
    begun = begin(sam, ann).json
    there = Person(ann.client, "support", token=begun["token"])
    clock.advance(minutes=29)
    assert there.get("/v1/sessions/current").status_code == 200
    if end == "the owner":
        assert ann.delete(f"/v1/sessions/{begun['session_id']}").status_code == 204
    elif end == "the owner ends all others":
        assert ann.delete("/v1/sessions").status_code == 204
    elif end == "support":
        gone = sam.delete(f"/v1/admin/accounts/{account_of(ann)}/sessions/{begun['session_id']}")
        assert gone.status_code == 204
    else:
        clock.advance(minutes=1)
    assert there.get("/v1/sessions/current").status_code == 401
    assert ann.get("/v1/sessions/current").status_code == 200


@pytest.mark.parametrize("change", [{"role": "auditor"}, {"status": "disabled"}])
def test_it_ends_with_what_allowed_it(app, ann, sam, change):
    there = looking_on(sam, ann)
    assert new_operator(app, "admin", "ada").patch(f"/v1/admin/operators/{sam.id}", change).status_code == 200
    assert there.get("/v1/sessions/current").status_code == 401


def test_it_ends_with_the_key_that_opened_it(app, ann):
    admin = operator(app)
    made = admin.post("/v1/admin/api-keys", {"name": "desk", "scopes": ["support"]}).json
    there = looking_on(Person(ann.client, "desk", token=made["token"]), ann)
    assert there.get("/v1/sessions/current").json["impersonation"]["operator"] == made["id"]
    assert admin.delete(f"/v1/admin/api-keys/{made['id']}").status_code == 204
    assert there.get("/v1/sessions/current").status_code == 401


def test_it_is_told_in_the_audit_log_with_its_reason(app, ann, sam):
    looking_on(sam, ann)
    [told] = operator(app).get("/v1/admin/audit?action=impersonation_started").json["items"]
    assert (told["actor"], told["account_id"]) == (sam.id, account_of(ann))
    assert told["details"]["reason"] == "ticket 12: a film does not play"


def test_it_needs_a_reason_an_active_account_and_a_profile_of_its_own(app, client, ann, sam):
    account = account_of(ann)
    foreign = new_person(client, "bob").get("/v1/profiles").json["items"][0]["id"]
    assert code_of(begin(sam, ann, reason=" ")) == (422, "invalid")
    assert code_of(begin(sam, ann, profile_id=foreign)) == (404, "not_found")
    assert sam.patch(f"/v1/admin/accounts/{account}", {"status": "disabled"}).status_code == 200
    refused = sam.post(f"/v1/admin/accounts/{account}/impersonations", {"reason": "why not"})
    assert code_of(refused) == (409, "account_not_active")
    assert code_of(sam.post("/v1/admin/accounts/acc_x/impersonations", {"reason": "x"})) == (404, "not_found")
