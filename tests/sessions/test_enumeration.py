"""Nobody learns from an answer, its headers, its hashes or its statements whether somebody has an account."""

from functools import partial

import argon2
import pytest
import sqlalchemy as sa

from streamsvc.models import Account
from streamsvc.security import password_hashing
from streamsvc.storage.database import db
from tests.worlds.sessions_steps import SECRET, new_person, operator, run_jobs

STATES = ("unknown", "wrong password", "unverified", "verified", "disabled", "no password", "deleted", "totp")


@pytest.fixture
def people(app, client):
    """One account in each state, by name."""
    for state in STATES[1:]:
        new_person(client, state.replace(" ", "_"))
    run_jobs(app)
    with app.app_context():
        rows = {row.email.partition("@")[0].replace("_", " "): row for row in db.session.scalars(sa.select(Account))}
        rows["verified"].email_verified_at = rows["verified"].created_at
        rows["disabled"].status = "disabled"
        rows["no password"].password_hash = None
        rows["deleted"].status = "deleted"
        db.session.commit()


class Watch:
    """Counts what one request costs: statements by their text, hashes."""

    def __init__(self, app, monkeypatch):
        self.statements, self.hashes = [], 0
        with app.app_context():
            for engine in db.engines.values():
                sa.event.listen(engine, "before_cursor_execute", lambda c, cur, text, *r: self.statements.append(text))
        verify = argon2._password_hasher.verify_secret

        def counted(*details):
            self.hashes += 1
            return verify(*details)

        monkeypatch.setattr(argon2._password_hasher, "verify_secret", counted)

    def of(self, send):
        self.statements, self.hashes = [], 0
        answer = send()
        headers = {k: v for k, v in answer.headers if k != "X-Request-Id"}
        body = {k: len(v) if k == "binding" else v for k, v in (answer.json or {}).items() if k != "request_id"}
        return answer.status_code, headers, body, self.hashes, tuple(self.statements)


@pytest.fixture
def watch(app, monkeypatch):
    return Watch(app, monkeypatch)


def email_of(state):
    return f"{state.replace(' ', '_')}@example.com"


def alike(watch, send):
    return {state: watch.of(lambda state=state: send(email_of(state))) for state in STATES}


def assert_all_equal(seen):
    first = seen["unknown"]
    assert {state: shown for state, shown in seen.items() if shown != first} == {}


@pytest.mark.parametrize("password", ["a wrong password", "x" * 1024, " ", SECRET + " "])
def test_a_refused_sign_in_looks_and_costs_the_same_in_every_state(client, people, watch, password):
    def send(email):
        address = {"REMOTE_ADDR": f"203.0.113.{STATES.index(email.partition('@')[0].replace('_', ' '))}"}
        return client.post("/v1/sessions", json={"email": email, "password": password}, environ_base=address)

    first = alike(watch, send)
    assert_all_equal(first)
    assert (first["unknown"][0], first["unknown"][2]["code"], first["unknown"][3]) == (401, "invalid_credentials", 1)
    assert_all_equal(alike(watch, send))


@pytest.mark.parametrize("state", ["disabled", "no password", "deleted"])
def test_even_the_right_password_does_not_tell_what_is_wrong_with_an_account(client, people, watch, state):
    def send(email):
        return client.post("/v1/sessions", json={"email": email, "password": SECRET})

    assert watch.of(lambda: send(email_of(state))) == watch.of(lambda: send("nobody@example.com"))


def test_a_locked_door_looks_the_same_whoever_lives_behind_it(client, people, watch):
    seen = {}
    for number, state in enumerate(STATES):
        for attempt in range(7):
            told = {"json": {"email": email_of(state), "password": "a wrong password"}}
            told["environ_base"] = {"REMOTE_ADDR": f"203.0.{number}.{attempt}"}
            seen[state] = watch.of(partial(client.post, "/v1/sessions", **told))
    assert_all_equal(seen)
    assert (seen["unknown"][0], seen["unknown"][3]) == (429, 0)


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_what_cannot_be_a_password_is_refused_before_anybody_is_looked_up(client, people, watch, password):
    seen = alike(watch, lambda email: client.post("/v1/sessions", json={"email": email, "password": password}))
    assert_all_equal(seen)
    assert (seen["unknown"][0], seen["unknown"][3]) == (422, 0)


@pytest.mark.parametrize("path", ["/v1/password-resets", "/v1/magic-links"])
def test_asking_for_a_mail_looks_and_costs_the_same_the_first_and_the_second_time(client, people, watch, path):
    def send(email):
        return client.post(path, json={"email": email})

    for _ in range(2):
        seen = alike(watch, send)
        assert_all_equal(seen)
        assert seen["unknown"][0] == 202


def test_a_made_up_token_costs_the_same_as_a_used_one(app, client, people, watch):
    def send(token):
        return client.put("/v1/email-verifications", json={"token": token})

    mail = operator(app).get("/v1/sandbox/emails?to=verified@example.com").json["items"][0]["text"]
    token = mail.split("token=")[1].split()[0]
    assert send(token).status_code == 204
    assert watch.of(lambda: send(token)) == watch.of(lambda: send("made-up"))


def test_the_check_itself_would_notice_a_missing_hash(client, people, watch, monkeypatch):
    """A planted fault: no hash where there is no account."""
    monkeypatch.setattr(
        password_hashing.HashingPermit, "verify_password", lambda place, kept, password: kept is not None
    )
    seen = alike(watch, lambda email: client.post("/v1/sessions", json={"email": email, "password": "wrong"}))
    with pytest.raises(AssertionError):
        assert_all_equal(seen)
