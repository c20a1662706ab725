"""Usernames and telephone numbers: they name an account at sign-in and prove nothing."""

import base64
import dataclasses
import hmac
import re
import socket
import threading
import time

import pytest
import sqlalchemy as sa

from streamsvc.gateways import sms as gateway
from streamsvc.gateways.peers import CallFailed, Peer
from streamsvc.models import Phone
from streamsvc.storage.database import db
from tests.sessions.test_enumeration import Costs
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.sessions_steps import code_of, mails, new_person, operator, run_jobs

NUMBER = "+4915112345678"
SIGNING_SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def client(app):
    """A client of the service with usernames and telephone numbers on."""
    former = app.extensions["settings"]
    on = {"usernames": True, "phones": True, "sms_countries": ("DE",)}
    app.extensions["settings"] = dataclasses.replace(former, **on)
    yield app.test_client()
    app.extensions["settings"] = former


def texts(app, to=NUMBER):
    run_jobs(app)
    return [sms["text"] for sms in operator(app).get("/v1/sandbox/sms", query_string={"to": to}).json["items"]]


def sms_code(app, to=NUMBER):
    return re.search(r"\d{8}", texts(app, to)[0])[0]


def verify(app, person, number=NUMBER):
    assert person.put("/v1/account/phone", {"phone": number}).status_code == 202
    return person.post("/v1/account/phone/verification", {"code": sms_code(app, number)})


def named(person, identifier, **more):
    body = {"identifier": identifier, "password": person.password} | more
    return person.client.post("/v1/sessions", json=body)


def test_a_username_signs_in_in_any_case_until_it_is_removed(app, client):
    ann, bob = new_person(client), new_person(client, "bob")
    assert ann.put("/v1/account/username", {"username": "Ann.Lee"}).json["username"] == "ann.lee"
    for identifier in ("ann.lee", "ANN.LEE", "ａｎｎ.lee", "ann@example.com"):
        assert named(ann, identifier).status_code == 201, identifier
    assert code_of(named(bob, "ann.lee", password="bob's own password")) == (401, "invalid_credentials")
    assert bob.get("/v1/account/identifiers").json["username"] is None
    assert ann.put("/v1/account/username", {"username": "lee"}).status_code == 200
    assert named(ann, "ann.lee").status_code == 401
    assert ann.delete("/v1/account/username").status_code == 204
    for identifier, noun in (("lee", "username"), ("+4915112345678", "telephone number"), ("x@b.example", "email")):
        refused = named(ann, identifier, password="a wrong one 7")
        assert refused.json["detail"] == f"The {noun} or password is incorrect."
    assert named(ann, "lee").status_code == 401 and ann.delete("/v1/account/username").status_code == 404
    assert [m["kind"] for m in mails(app, ann.email, "identifier_changed")] == ["identifier_changed"] * 3


BREAKS_A_RULE = (
    *("al", "a" * 33, "1ann", "a@b.example", "+49151", "ann lee", "ann\u200blee", "ann_", "a..b", "אnn1"),
    *("admi\u0307n", "root\u0332", "ann\u02c8", "ann\u02b0", "\u1d43nn1", "ann.\u0941", "ann1\u0941"),
)


@pytest.mark.parametrize("username", BREAKS_A_RULE)
def test_a_username_that_breaks_a_rule_is_refused(client, username):
    assert code_of(new_person(client).put("/v1/account/username", {"username": username})) == (422, "invalid")


def test_look_alikes_of_taken_and_reserved_usernames_are_refused(client):
    ann, eve = new_person(client), new_person(client, "eve")
    assert ann.put("/v1/account/username", {"username": "marlow10"}).status_code == 200
    look_alikes = ("marlow10", "mаrlow10", "rnarlow10", "marl0w10", "marlowl0", "mar.low10")
    for username in (*look_alikes, "márlow10", "admin", "аdmin", "adrnin", "r00t", "ȧdmin", "røøt", "rooṯ"):
        assert code_of(eve.put("/v1/account/username", {"username": username})) == (409, "username_taken"), username
    assert ann.put("/v1/account/username", {"username": "mar_low10"}).status_code == 200, "an own look-alike"


def test_usernames_of_other_scripts_keep_their_marks_and_signs(client):
    ann, bob = new_person(client), new_person(client, "bob")
    for username in ("josé", "müller", "ユーザー", "佐々木花", "สมชาย", "ฐิติมา", "हिन्दी", "йован"):
        assert ann.put("/v1/account/username", {"username": username}).status_code == 200, username
    assert ann.put("/v1/account/username", {"username": "กีกี"}).status_code == 200
    assert bob.put("/v1/account/username", {"username": "กูกู"}).status_code == 200, "other vowels, another name"


def test_changes_need_a_recent_proof_and_the_settings(app, client, clock):
    ann = new_person(client)
    clock.advance(minutes=11)
    for call in (ann.put, ann.delete):
        body = ({"username": "ann1"},) if call == ann.put else ()
        assert call("/v1/account/username", *body).json["code"] == "reauthentication_required"
    assert ann.put("/v1/account/phone", {"phone": NUMBER}).json["code"] == "reauthentication_required"
    ann.sign_in()
    assert ann.put("/v1/account/username", {"username": "annlee"}).status_code == 200
    app.extensions["settings"] = dataclasses.replace(app.extensions["settings"], usernames=False, phones=False)
    assert named(ann, "annlee").status_code == 401
    assert ann.put("/v1/account/username", {"username": "annlee2"}).status_code == 404
    assert ann.put("/v1/account/phone", {"phone": NUMBER}).status_code == 404


def test_only_a_verified_number_signs_in_and_it_proves_nothing(app, client):
    ann = new_person(client)
    assert ann.put("/v1/account/phone", {"phone": "+49 151 / 1234-5678"}).status_code == 202
    assert ann.get("/v1/account/identifiers").json["pending_phone"] == NUMBER
    assert named(ann, NUMBER).status_code == 401
    code = sms_code(app)
    wrong = "00000000" if code != "00000000" else "11111111"
    assert code_of(ann.post("/v1/account/phone/verification", {"code": wrong})) == (422, "second_factor_invalid")
    assert ann.post("/v1/account/phone/verification", {"code": code}).json["phone"] == NUMBER
    assert named(ann, "+49 151 12345678").status_code == 201
    assert named(ann, NUMBER, password="not the password").status_code == 401
    assert ann.post("/v1/account/phone/verification", {"code": code}).status_code == 422, "a code works once"
    assert ann.delete("/v1/account/phone").status_code == 204
    assert named(ann, NUMBER).status_code == 401


def test_five_wrong_codes_or_ten_minutes_end_a_verification(app, client, clock):
    ann = new_person(client)
    ann.put("/v1/account/phone", {"phone": NUMBER})
    code = sms_code(app)
    for _ in range(5):
        ann.post("/v1/account/phone/verification", {"code": "12345678" if code != "12345678" else "87654321"})
    assert ann.post("/v1/account/phone/verification", {"code": code}).status_code == 422
    ann.put("/v1/account/phone", {"phone": NUMBER})
    clock.advance(minutes=10)
    assert ann.post("/v1/account/phone/verification", {"code": sms_code(app)}).status_code == 422


@pytest.mark.every_database
def test_the_latest_proof_of_a_number_wins_and_the_former_owner_is_told(app, client):
    ann, bob = new_person(client), new_person(client, "bob")
    assert verify(app, ann).status_code == verify(app, bob).status_code == 200
    assert ann.get("/v1/account/identifiers").json["phone"] is None
    assert bob.get("/v1/account/identifiers").json["phone"] == NUMBER
    assert "another account" in mails(app, ann.email, "identifier_changed")[0]["text"]
    assert ann.get("/v1/account").status_code == 200, "the account itself is untouched"


@pytest.mark.parametrize("number", ["015112345678", "+49", "+1 202 555 0172", "+4930901820", "+436641234567", "none"])
def test_numbers_that_are_not_accepted(client, number):
    """Without a country code, too short, of other countries, of a landline, no number."""
    assert code_of(new_person(client).put("/v1/account/phone", {"phone": number})) == (422, "invalid")


def test_messages_are_limited_by_account_source_number_and_country(app, client, clock):
    ann = new_person(client)
    assert [ann.put("/v1/account/phone", {"phone": f"+491511234560{n}"}).status_code for n in range(6)] == [202] * 5 + [
        429
    ]
    clock.advance(days=2)
    ann.sign_in()
    app.extensions["settings"] = dataclasses.replace(app.extensions["settings"], sms_per_country=1)
    assert ann.put("/v1/account/phone", {"phone": "+4915112345601"}).status_code == 202
    bob = new_person(client, "bob", headers={})
    refused = bob.put("/v1/account/phone", {"phone": "+4915112345699"}, environ_base={"REMOTE_ADDR": "198.51.100.77"})
    assert code_of(refused) == (429, "too_many_attempts") and int(refused.headers["Retry-After"]) > 3000
    assert texts(app, "+4915112345699") == []


@pytest.mark.parametrize("known, unknown", [("annlee", "nobody1"), (NUMBER, "+4915112345699"), ("annlee", "no name")])
def test_unknown_identifiers_look_and_cost_the_same(app, client, statements, monkeypatch, known, unknown):
    ann = new_person(client)
    ann.put("/v1/account/username", {"username": "annlee"})
    verify(app, ann)
    costs = Costs(statements, monkeypatch)

    def send(identifier):
        return named(ann, identifier, password="a wrong password")

    send("warm-up")
    for _ in range(6):  # the sixth is locked out
        measured = costs.measure(lambda: send(known)), costs.measure(lambda: send(unknown))
        assert measured[0] == measured[1]
    assert measured[0][0] == 429
    assert ann.sign_in().status_code == 201, "the back-off of a username is not that of the address"


def test_exactly_one_of_email_and_identifier(client):
    for body in ({}, {"email": "a@example.com", "identifier": "ann"}):
        assert code_of(client.post("/v1/sessions", json={"password": "whatever", **body})) == (422, "invalid")


@pytest.mark.every_database
def test_the_constraint_decides_between_two_at_once(app, client):
    """A number that another account holds cannot be inserted twice, whatever the code does."""
    verify(app, new_person(client))
    other = new_person(client, "bob").get("/v1/account").json["id"]
    with app.app_context(), pytest.raises(sa.exc.IntegrityError):
        row = db.session.scalars(sa.select(Phone)).one()
        db.session.add(Phone(account_id=other, number=row.number, verified_at=row.verified_at))
        db.session.flush()


def test_the_gateway_gets_a_signed_message_and_a_total_deadline(monkeypatch):
    received = []

    class Gateway(LocalHandler):
        def do_POST(self):
            received.append((self.headers, self.read_body()))
            self.respond(400 if self.path == "/no" else 202)

    with local_server(Gateway) as server:
        gateway.send_sms(f"{server.url}/sms", SIGNING_SECRET, "sms_1", NUMBER, "12345678", 1_767_225_600)
        with pytest.raises(CallFailed, match="400"):
            gateway.send_sms(f"{server.url}/no", SIGNING_SECRET, "sms_1", NUMBER, "12345678", 1_767_225_600)
    headers, body = received[0]
    expected = base64.b64encode(hmac.digest(b"k" * 32, b"sms_1.1767225600." + body, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    monkeypatch.setattr(gateway, "PEER", Peer("sms", 0.3))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 200 OK\r\n")
                for _ in range(40):  # each byte comes well before a timeout per read
                    time.sleep(0.05)
                    try:
                        peer.sendall(b"X")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        started = time.monotonic()
        with pytest.raises(CallFailed):
            gateway.send_sms(f"http://127.0.0.1:{server.getsockname()[1]}/", SIGNING_SECRET, "s", NUMBER, "1", 1)
        assert time.monotonic() - started < 1.5
        thread.join()
