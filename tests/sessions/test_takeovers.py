"""After a takeover the account is the owner's again, and only the owner's, whatever the intruder added and in which
order."""

import re
from dataclasses import replace

import pytest

from streamsvc.models import StreamDevice
from streamsvc.rules.sign_in.device_codes import GRANT_TYPE
from streamsvc.storage.database import db
from tests.worlds.authenticator import Authenticator
from tests.worlds.operator_steps import new_operator
from tests.worlds.sessions_steps import Person, add_app, code_of, mailed_token, mails, new_person, operator, run_jobs

NEW = "eve@elsewhere.example"
LAPTOP = {"name": "A laptop", "kind": "web"}


@pytest.fixture
def ann(app, client, clock):
    """Ann, who has confirmed her address and signed in again an hour later."""
    ann = new_person(client)
    assert confirm(client, mailed_token(app, ann.email, "email_verification"), ann) == 204
    clock.advance(hours=1)
    assert ann.sign_in().status_code == 201
    return ann


def register(person):
    authenticator = Authenticator()
    options = person.post("/v1/passkeys/options").json
    assert person.post("/v1/passkeys", {"credential": authenticator.make(options)}).status_code == 201
    return authenticator


def passkey_sign_in(client, authenticator):
    options = client.post("/v1/sessions/passkey-options").json
    return client.post("/v1/sessions/passkey", json={"credential": authenticator.sign(options)})


def approve_tv(person):
    codes = person.client.post("/v1/device-codes", json={"device": {"name": "TV", "kind": "tv"}}).json
    assert person.put(f"/v1/device-codes/{codes['user_code']}/decision", {"approve": True}).status_code == 204
    return codes["device_code"]


def poll(client, device_code):
    return client.post("/v1/token", data={"grant_type": GRANT_TYPE, "device_code": device_code})


def sign_in_tv(person):
    return Person(person.client, person.email, token=poll(person.client, approve_tv(person)).json["access_token"])


def disown(client, token):
    return client.put("/v1/devices/disowned", json={"token": token}).status_code


def confirm(client, token, person=None):
    headers = {"Authorization": f"Bearer {person.token}"} if person else {}
    return client.put("/v1/email-verifications", json={"token": token}, headers=headers).status_code


def reset(app, ann, password="another secret 8", **more):
    """Set a new password by the newest link that Ann got."""
    token = mailed_token(app, ann.email, "password_reset")
    response = app.test_client().put("/v1/password-resets", json={"token": token, "password": password, **more})
    assert response.status_code == 204, response.json
    return Person(app.test_client(), ann.email, password)


def request_reset(app, ann, **more):
    app.test_client().post("/v1/password-resets", json={"email": ann.email})
    return reset(app, ann, **more)


def change_email(app, person, old):
    assert person.put("/v1/account/email", {"email": NEW}).status_code == 202
    undo = mailed_token(app, old, "email_undo")
    assert confirm(app.test_client(), mailed_token(app, NEW, "email_change")) == 204
    return undo


def is_in(person):
    return person.get("/v1/account").status_code == 200


def test_disowning_a_device_takes_back_all_that_was_added_from_it_and_nothing_older(app, client, ann, clock):
    older_key, older_tv = register(ann), sign_in_tv(ann)
    eve = ann.again()
    eve.sign_in(device=LAPTOP)
    link = mailed_token(app, ann.email, "new_device")
    key, tv, waiting_tv = register(eve), sign_in_tv(eve), approve_tv(eve)
    second = eve.again()
    second.sign_in(device=LAPTOP)
    assert disown(client, link) == 204
    assert [is_in(person) for person in (ann, older_tv, eve, tv, second)] == [True, True, False, False, False]
    assert code_of(passkey_sign_in(client, key)) == (401, "invalid_credentials")
    assert poll(client, waiting_tv).json["error"] == "access_denied"
    assert passkey_sign_in(client, older_key).status_code == 201
    owner = reset(app, ann)
    assert owner.sign_in().status_code == 201
    assert not is_in(tv)


def test_disowning_a_device_brings_back_the_address_and_touches_no_other_account(app, client, ann, clock):
    eve = ann.again()
    eve.sign_in(device=LAPTOP)
    link = mailed_token(app, ann.email, "new_device")
    bob = new_person(client, "bob")
    assert bob.put("/v1/account/email", {"email": "bob@elsewhere.example"}).status_code == 202
    assert confirm(client, mailed_token(app, "bob@elsewhere.example", "email_change")) == 204
    options, current = bob.post("/v1/passkeys/options").json, bob.get("/v1/sessions/current").json
    place = {"account_id": current["account"]["id"], "device_id": current["session"]["device"]["id"]}
    with app.app_context():
        db.session.add(StreamDevice(**place, first_played_at=clock(), last_played_at=clock()))
        db.session.commit()
    change_email(app, eve, ann.email)
    assert disown(client, link) == 204
    assert ann.get("/v1/account").json["email"] == ann.email
    assert bob.get("/v1/account").json["email"] == "bob@elsewhere.example"
    assert bob.post("/v1/passkeys", {"credential": Authenticator().make(options)}).status_code == 201
    with app.app_context():
        assert db.session.query(StreamDevice).count() == 1


def set_up_before_the_email_change(app, ann, eve, clock):
    add_app(eve, clock)
    clock.advance(minutes=2)
    undo = change_email(app, eve, ann.email)
    assert confirm(app.test_client(), undo) == 204


def set_up_on_a_row_that_the_owner_began(app, ann, eve, clock):
    assert eve.put("/v1/account/email", {"email": NEW}).status_code == 202
    undo = mailed_token(app, ann.email, "email_undo")
    clock.advance(minutes=1)
    add_app(eve, clock)
    assert confirm(app.test_client(), undo) == 204


def set_up_before_the_device_is_disowned(app, ann, eve, clock):
    link = mailed_token(app, ann.email, "new_device")
    add_app(eve, clock)
    clock.advance(minutes=1)
    assert disown(app.test_client(), link) == 204


@pytest.mark.parametrize(
    "take_over_and_recover",
    [set_up_before_the_email_change, set_up_on_a_row_that_the_owner_began, set_up_before_the_device_is_disowned],
)
def test_an_intruders_authenticator_locks_nobody_out(app, client, ann, clock, take_over_and_recover):
    if take_over_and_recover is set_up_on_a_row_that_the_owner_began:
        assert ann.post("/v1/sessions/current/reauthentication", {"password": ann.password}).status_code == 204
        assert ann.post("/v1/account/totp").status_code == 201
        clock.advance(hours=1)
    eve = ann.again()
    eve.sign_in(device=LAPTOP)
    clock.advance(minutes=1)
    take_over_and_recover(app, ann, eve, clock)
    owner = reset(app, ann)
    assert owner.sign_in().status_code == 201
    assert owner.get("/v1/account/totp").json["active"] is False
    assert not is_in(eve)


@pytest.mark.parametrize("proof", ["confirmation", "magic link", "reset"])
def test_the_first_proof_of_a_mailbox_revokes_what_was_set_before_it(app, client, clock, proof):
    squatter = new_person(client, "ann")
    key, tv, waiting_tv = register(squatter), sign_in_tv(squatter), approve_tv(squatter)
    other = squatter.again()
    other.sign_in()
    add_app(squatter, clock)
    clock.advance(minutes=1)
    ann = Person(app.test_client(), squatter.email)
    if proof == "confirmation":
        assert confirm(ann.client, mailed_token(app, ann.email, "email_verification")) == 204
        owner = reset(app, ann)
        assert owner.sign_in().status_code == 201
    elif proof == "magic link":
        binding = ann.client.post("/v1/magic-links", json={"email": ann.email}).json["binding"]
        body = {"token": mailed_token(app, ann.email, "magic_link"), "binding": binding}
        owner = Person(ann.client, ann.email)
        assert owner._in(ann.client.post("/v1/sessions/magic-link", json=body)).status_code == 201
    else:
        owner = request_reset(app, ann)
        assert owner.sign_in().status_code == 201
    assert is_in(owner) and owner.get("/v1/account").json["email_verified"] is True
    assert [is_in(person) for person in (squatter, other, tv)] == [False, False, False]
    assert code_of(squatter.sign_in()) == (401, "invalid_credentials")
    assert code_of(passkey_sign_in(client, key)) == (401, "invalid_credentials")
    assert poll(client, waiting_tv).json["error"] == "access_denied"
    assert owner.get("/v1/account/totp").json["active"] is False


def test_a_proof_from_the_session_that_signed_up_revokes_nothing(app, client, clock):
    ann = new_person(client)
    key, tv = register(ann), sign_in_tv(ann)
    assert confirm(client, mailed_token(app, ann.email, "email_verification"), ann) == 204
    assert is_in(ann) and is_in(tv) and ann.again().sign_in().status_code == 201
    assert passkey_sign_in(client, key).status_code == 201


@pytest.mark.parametrize("end", ["session", "device", "sign-out"])
def test_what_an_ended_session_began_ends_with_it(app, client, ann, clock, end):
    eve = ann.again()
    session = eve.sign_in(device=LAPTOP).json["session"]
    device_code = approve_tv(eve)
    assert eve.put("/v1/account/email", {"email": NEW}).status_code == 202
    change = mailed_token(app, NEW, "email_change")
    enders = {
        "session": lambda: ann.delete(f"/v1/sessions/{session['id']}"),
        "device": lambda: ann.delete(f"/v1/devices/{session['device']['id']}"),
        "sign-out": lambda: eve.delete("/v1/sessions/current"),
    }
    assert enders[end]().status_code == 204
    assert poll(client, device_code).json["error"] == "access_denied"
    assert confirm(client, change) == 422
    assert poll(client, approve_tv(ann)).status_code == 200, "of a session that lives on"


def test_the_mail_about_a_new_factor_takes_back_the_session_that_added_it(app, client, ann, clock):
    eve = ann.again()
    eve.sign_in(device=LAPTOP)
    tv = sign_in_tv(eve)
    clock.advance(minutes=2)
    key = register(eve)
    token = mailed_token(app, ann.email, "factor_added")
    text = mails(app, ann.email, "factor_added")[0]["text"]
    assert "/#/not-me?token=" in text and f"on {clock():%B} 15, 2026 at {clock():%H:%M} UTC from A laptop." in text
    previews = [client.post("/v1/access-revocation-previews", json={"token": token}) for _ in range(2)]
    assert previews[0].json == previews[1].json
    shown = {(item["kind"], item["name"], item["revoked"]) for item in previews[0].json["items"]}
    assert {("session", "A laptop", True), ("session", "TV", True), ("session", "Unnamed device", False)} <= shown
    assert is_in(eve) and passkey_sign_in(client, key).status_code == 201, "a preview changes nothing"
    assert client.put("/v1/access-revocations", json={"token": token}).status_code == 204
    assert client.put("/v1/access-revocations", json={"token": token}).status_code == 422
    assert [is_in(person) for person in (ann, eve, tv)] == [True, False, False]
    assert code_of(passkey_sign_in(client, key)) == (401, "invalid_credentials")
    assert code_of(eve.sign_in()) == (401, "invalid_credentials")


def test_the_history_names_the_session_that_added_each_way_to_sign_in(client, ann, clock):
    bob = new_person(client, "bob")
    session = ann.get("/v1/sessions/current").json["session"]["id"]
    register(ann)
    sign_in_tv(ann)
    add_app(ann, clock)
    ann.put("/v1/account/password", {"current_password": ann.password, "password": "another secret 8"})
    items, cursor = [], ""
    while cursor is not None:
        page = ann.get(f"/v1/account/access-history?limit=4{cursor and '&cursor='}{cursor}").json
        items, cursor = items + page["items"], page["next_cursor"]
    assert [item["created_at"] for item in items] == sorted((item["created_at"] for item in items), reverse=True)
    assert len({(item["kind"], item["id"]) for item in items}) == len(items)
    added = {item["kind"] for item in items if item["added_by_session_id"] == session}
    expected = {"passkey", "device_approval", "session", "authenticator", "recovery_codes", "password_change"}
    assert added == expected
    assert {item["kind"] for item in bob.get("/v1/account/access-history").json["items"]} == {"session", "device"}


def test_a_reset_revokes_on_request_what_was_added_within_the_last_week(app, client, ann, clock):
    older = register(ann)
    clock.advance(days=8)
    eve = ann.again()
    eve.sign_in()
    newer = register(eve)
    add_app(eve, clock)
    client.post("/v1/password-resets", json={"email": ann.email})
    token = mailed_token(app, ann.email, "password_reset")
    body = {"token": token, "password": "another secret 8"}
    too_early = {"revoke_access_since": "2026-01-16T11:00:00Z"}
    refused = client.put("/v1/password-resets", json=body | too_early)
    assert (code_of(refused), list(refused.json["errors"])) == ((422, "invalid"), ["revoke_access_since"])
    long_ago = client.post("/v1/access-revocation-previews", json={"token": token, "since": "0001-01-01T00:00:00Z"})
    assert long_ago.json["errors"] == {"since": ["Must be between the years 1900 and 9000."]}
    since = {"since": "2026-01-23T00:00:00Z"}
    preview = client.post("/v1/access-revocation-previews", json={"token": token, **since}).json["items"]
    assert [item["revoked"] for item in preview if item["kind"] == "passkey"] == [True, False]
    assert client.put("/v1/password-resets", json=body | {"revoke_access_since": since["since"]}).status_code == 204
    assert ann.again(token="").sign_in().status_code == 401
    ann.password = "another secret 8"
    assert ann.sign_in().status_code == 201
    assert passkey_sign_in(client, older).status_code == 201
    assert code_of(passkey_sign_in(client, newer)) == (401, "invalid_credentials")


def test_an_intruders_username_and_number_go_and_the_owners_stay(app, client, ann, clock):
    former = app.extensions["settings"]
    app.extensions["settings"] = replace(former, usernames=True, phones=True, sms_countries=("DE",))
    try:
        assert ann.put("/v1/account/username", {"username": "ann.lee"}).status_code == 200
        clock.advance(minutes=1)
        eve = ann.again()
        eve.sign_in(device=LAPTOP)
        link = mailed_token(app, ann.email, "new_device")
        assert eve.put("/v1/account/phone", {"phone": "+4915112345678"}).status_code == 202
        run_jobs(app)
        [sms] = operator(app).get("/v1/sandbox/sms", query_string={"to": "+4915112345678"}).json["items"]
        code = re.search(r"\d{8}", sms["text"])[0]
        assert eve.post("/v1/account/phone/verification", {"code": code}).status_code == 200
        assert eve.put("/v1/account/phone", {"phone": "+4915187654321"}).status_code == 202
        added = [i for i in ann.get("/v1/account/access-history").json["items"] if i["kind"] in ("phone", "username")]
        assert [(i["kind"], i["name"]) for i in added] == [("phone", "+49*********78"), ("username", "ann.lee")]
        assert disown(client, link) == 204
        names = ann.get("/v1/account/identifiers").json
        assert (names["username"], names["phone"], names["pending_phone"]) == ("ann.lee", None, None)
    finally:
        app.extensions["settings"] = former


def test_the_end_of_every_session_voids_the_changes_of_address_that_they_requested(app, client, ann):
    assert ann.put("/v1/account/email", {"email": NEW}).status_code == 202
    change = mailed_token(app, NEW, "email_change")
    assert operator(app).post("/v1/admin/session-revocations", {"reason": "a leak"}).status_code in (200, 201)
    assert confirm(client, change) == 422


def test_a_changed_address_ends_what_its_account_alone_had_approved(app, client, ann):
    bob = new_person(client, "bob")
    approved, bobs = approve_tv(ann), approve_tv(bob)
    change_email(app, ann, ann.email)
    assert poll(client, approved).json["error"] == "access_denied"
    assert poll(client, bobs).status_code == 200


def test_using_a_link_about_one_factor_leaves_those_about_older_ones_open(app, client, ann, clock):
    for minutes in (1, 2):
        register(ann)
        clock.advance(minutes=minutes)
    newer, older = (re.search(r"token=([\w-]+)", mail["text"])[1] for mail in mails(app, ann.email, "factor_added"))
    assert client.put("/v1/access-revocations", json={"token": newer}).status_code == 204
    assert client.put("/v1/access-revocations", json={"token": older}).status_code == 204


def test_an_address_that_a_takeover_set_free_comes_back_from_whoever_squats_on_it(app, client, ann):
    eve = ann.again()
    eve.sign_in(device=LAPTOP)
    undo = change_email(app, eve, ann.email)
    squatter = new_person(client, "ann")
    assert confirm(client, undo) == 204
    assert reset(app, ann).sign_in().json["account"]["id"] != squatter.get("/v1/account").json["id"]
    assert squatter.get("/v1/account").json["email"] != ann.email


def test_a_disabled_account_stays_disabled_through_deletion_and_restoration(app, client, ann):
    from streamsvc.models import Account
    from streamsvc.operations.sign_in import closing
    from streamsvc.storage.database import db

    account_id = ann.get("/v1/account").json["id"]
    ban = {"status": "disabled", "reason": "chargebacks"}
    assert operator(app).patch(f"/v1/admin/accounts/{account_id}", ban).status_code == 200
    with app.app_context():
        closing.close_account(account_id, app.extensions["clock"]())
        db.session.commit()
    token = mailed_token(app, ann.email, "account_restoration")
    assert client.put("/v1/account-restorations", json={"token": token}).status_code == 204
    assert code_of(ann.sign_in()) == (401, "invalid_credentials")
    with app.app_context():
        account = db.session.get(Account, account_id)
        assert (account.status, account.status_reason, account.email) == ("disabled", "chargebacks", ann.email)


def test_an_operators_sign_out_ends_the_impersonations_of_that_session(app, ann):
    account_id = ann.get("/v1/account").json["id"]
    support, colleague = (new_operator(app, "support", name) for name in ("first", "second"))

    def impersonate(person):
        path = f"/v1/admin/accounts/{account_id}/impersonations"
        token = person.post(path, {"reason": "a film does not play"}).json["token"]
        return Person(ann.client, ann.email, token=token)

    one, other = impersonate(support), impersonate(colleague)
    assert is_in(one) and is_in(other)
    assert support.delete("/v1/admin/sessions/current").status_code == 204
    assert (is_in(one), is_in(other)) == (False, True)
