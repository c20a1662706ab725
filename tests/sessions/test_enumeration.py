"""Account enumeration: responses, headers, hashes and statements do not depend on whether an account exists."""

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
def accounts(app, client):
    """One account in each state, named after it."""
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


class Costs:
    """Records the cost of a request: its statements and its number of hashes."""

    def __init__(self, statements, monkeypatch):
        self.statements, self.hashes = statements, 0
        verify = argon2._password_hasher.verify_secret

        def counted(*args):
            self.hashes += 1
            return verify(*args)

        monkeypatch.setattr(argon2._password_hasher, "verify_secret", counted)

    def measure(self, send):
        """Status, headers, body, hashes and statements of one request."""
        self.statements.clear()
        self.hashes = 0
        response = send()
        headers = {k: v for k, v in response.headers if k != "X-Request-Id"}
        body = {k: len(v) if k == "binding" else v for k, v in (response.json or {}).items() if k != "request_id"}
        return response.status_code, headers, body, self.hashes, tuple(self.statements)


@pytest.fixture
def costs(statements, monkeypatch):
    return Costs(statements, monkeypatch)


def email_of(state):
    return f"{state.replace(' ', '_')}@example.com"


def measure_states(costs, send):
    """State -> what a request for it costs."""
    return {state: costs.measure(lambda state=state: send(email_of(state))) for state in STATES}


def assert_all_equal(measured):
    expected = measured["unknown"]
    assert {state: cost for state, cost in measured.items() if cost != expected} == {}


@pytest.mark.parametrize("password", ["a wrong password", "x" * 1024, " ", SECRET + " "])
def test_failed_sign_ins_look_and_cost_the_same_in_every_state(client, accounts, costs, password):
    def send(email):
        address = {"REMOTE_ADDR": f"203.0.113.{STATES.index(email.partition('@')[0].replace('_', ' '))}"}
        return client.post("/v1/sessions", json={"email": email, "password": password}, environ_base=address)

    first = measure_states(costs, send)
    assert_all_equal(first)
    assert (first["unknown"][0], first["unknown"][2]["code"], first["unknown"][3]) == (401, "invalid_credentials", 1)
    assert_all_equal(measure_states(costs, send))


@pytest.mark.parametrize("state", ["disabled", "no password", "deleted"])
def test_a_correct_password_does_not_reveal_why_an_account_cannot_sign_in(client, accounts, costs, state):
    def send(email):
        return client.post("/v1/sessions", json={"email": email, "password": SECRET})

    assert costs.measure(lambda: send(email_of(state))) == costs.measure(lambda: send("nobody@example.com"))


def test_a_locked_out_identifier_looks_the_same_with_and_without_an_account(client, accounts, costs):
    measured = {}
    for number, state in enumerate(STATES):
        for attempt in range(7):
            call = {"json": {"email": email_of(state), "password": "a wrong password"}}
            call["environ_base"] = {"REMOTE_ADDR": f"203.0.{number}.{attempt}"}
            measured[state] = costs.measure(partial(client.post, "/v1/sessions", **call))
    assert_all_equal(measured)
    assert (measured["unknown"][0], measured["unknown"][3]) == (429, 0)


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_impossible_passwords_are_rejected_before_the_account_is_looked_up(client, accounts, costs, password):
    measured = measure_states(
        costs, lambda email: client.post("/v1/sessions", json={"email": email, "password": password})
    )
    assert_all_equal(measured)
    assert (measured["unknown"][0], measured["unknown"][3]) == (422, 0)


@pytest.mark.parametrize("path", ["/v1/password-resets", "/v1/magic-links"])
def test_mail_requests_look_and_cost_the_same_the_first_and_the_second_time(client, accounts, costs, path):
    def send(email):
        return client.post(path, json={"email": email})

    for _ in range(2):
        measured = measure_states(costs, send)
        assert_all_equal(measured)
        assert measured["unknown"][0] == 202


def test_an_invented_token_costs_the_same_as_a_used_one(app, client, accounts, costs):
    def send(token):
        return client.put("/v1/email-verifications", json={"token": token})

    mail = operator(app).get("/v1/sandbox/emails?to=verified@example.com").json["items"][0]["text"]
    token = mail.split("token=")[1].split()[0]
    assert send(token).status_code == 204
    assert costs.measure(lambda: send(token)) == costs.measure(lambda: send("invented"))


def test_the_check_detects_a_missing_hash(client, accounts, costs, monkeypatch):
    """Inject an error: no hash if there is no account."""
    monkeypatch.setattr(
        password_hashing.HashingPermit,
        "verify_password",
        lambda permit, password_hash, password: password_hash is not None,
    )
    measured = measure_states(
        costs, lambda email: client.post("/v1/sessions", json={"email": email, "password": "wrong"})
    )
    with pytest.raises(AssertionError):
        assert_all_equal(measured)
