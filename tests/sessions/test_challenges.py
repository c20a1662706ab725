"""A solved challenge lifts an exhausted limit once; a verifier like Turnstile or hCaptcha checks it over HTTP."""

from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa

from streamsvc.models import RateLimitCounter
from streamsvc.storage.database import execute_write
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.operator_steps import enrolled
from tests.worlds.sessions_steps import code_of, new_person

SECRET = "this site's secret"


class Verifier:
    """`valid_tokens` are accepted once each; `requests` are the forms it got; `status` is its response's status."""

    def __init__(self):
        self.valid_tokens, self.requests, self.status = set(), [], 200

    def verify(self, form):
        self.requests.append(form)
        solved = form["secret"] == SECRET and form["response"] in self.valid_tokens
        self.valid_tokens.discard(form["response"])
        return {"success": solved, "error-codes": [] if solved else ["invalid-input-response"]}


@pytest.fixture(scope="module")
def server():
    class Siteverify(LocalHandler):
        def do_POST(self):
            form = {name: value for name, [value] in parse_qs(self.read_body().decode()).items()}
            self.respond(httpd.verifier.status, httpd.verifier.verify(form))

    with local_server(Siteverify) as httpd:
        yield httpd


@pytest.fixture
def verifier(app, server, monkeypatch):
    server.verifier = Verifier()
    url = f"{server.url}/siteverify"
    changed = app.extensions["settings"].replace(challenge_url=url, challenge_secret=SECRET)
    monkeypatch.setitem(app.extensions, "settings", changed)
    return server.verifier


@pytest.fixture
def ann(client, verifier):
    """Ann, whose sign-in limit others have exhausted."""
    ann = new_person(client)
    for n in range(5):
        fail_sign_in(client, f"203.0.113.{n}")
    return ann


def fail_sign_in(client, address, email="ann@example.com", **more):
    body = {"email": email, "password": "a wrong password"} | more
    return client.post("/v1/sessions", json=body, environ_base={"REMOTE_ADDR": address})


def test_a_solved_challenge_allows_one_attempt(ann, verifier):
    limited = ann.sign_in()
    assert (code_of(limited), limited.json["challenge"]) == ((429, "too_many_attempts"), True)
    verifier.valid_tokens = {"solved"}
    assert ann.sign_in(challenge="solved").status_code == 201
    assert verifier.requests == [{"secret": SECRET, "response": "solved", "remoteip": "127.0.0.1"}]


def test_a_failed_attempt_with_a_challenge_extends_the_wait(client, ann, verifier):
    verifier.valid_tokens = {"solved"}
    assert fail_sign_in(client, "198.51.100.1", challenge="solved").status_code == 401
    again = fail_sign_in(client, "198.51.100.1", challenge="solved")
    assert (again.status_code, again.json["challenge"], again.headers["Retry-After"]) == (429, True, "120")


@pytest.mark.parametrize("token", ["unknown", ""])
def test_unknown_challenge_tokens_are_rejected(ann, verifier, token):
    response = ann.sign_in(challenge=token)
    assert response.status_code == (429 if token else 422)


@pytest.mark.parametrize("outage", ["down", "failing"])
def test_while_the_verifier_is_unavailable_the_limit_holds(app, ann, verifier, monkeypatch, outage):
    verifier.valid_tokens = {"solved"}
    verifier.status = 500
    if outage == "down":
        settings = app.extensions["settings"].replace(challenge_url="http://127.0.0.1:9/siteverify")
        monkeypatch.setitem(app.extensions, "settings", settings)
    assert code_of(ann.sign_in(challenge="solved")) == (429, "too_many_attempts")


def test_after_a_hundred_failures_in_a_row_no_challenge_helps(app, client, ann, verifier):
    with app.app_context():
        execute_write(
            sa.update(RateLimitCounter).where(RateLimitCounter.key.startswith("sign_in.account")).values(count=98)
        )
    verifier.valid_tokens = {f"solved {n}" for n in range(4)}
    responses = [fail_sign_in(client, f"198.51.100.{n}", challenge=f"solved {n}").status_code for n in range(4)]
    assert responses == [401] * 2 + [429] * 2


def test_below_the_limit_the_verifier_is_not_called(client, verifier):
    bob = new_person(client, "bob")
    assert bob.sign_in(challenge="whatever").status_code == 201
    assert verifier.requests == []


def test_a_challenge_lifts_the_ten_minute_limit_of_an_address_but_not_the_hourly_one(client, verifier):
    verifier.valid_tokens = {"solved"}
    for _ in range(20):
        fail_sign_in(client, "203.0.113.9", email="somebody@example.com")
    responses = [fail_sign_in(client, "203.0.113.9", email="somebody@example.com") for _ in range(60)]
    assert {response.status_code for response in responses} == {429}
    assert fail_sign_in(client, "203.0.113.9", email="another@example.com", challenge="solved").status_code == 401


def test_without_a_verifier_no_challenge_is_offered(app, ann, verifier, monkeypatch):
    settings = app.extensions["settings"].replace(challenge_url="", challenge_secret="")
    monkeypatch.setitem(app.extensions, "settings", settings)
    limited = ann.sign_in(challenge="solved")
    assert limited.status_code == 429 and "challenge" not in limited.json
    assert verifier.requests == []


def test_a_challenge_lifts_an_operators_limit_too(app, verifier):
    ada = enrolled(app, "admin", "ada")
    for n in range(5):
        body = {"email": ada.email, "password": "a wrong password"}
        app.test_client().post("/v1/admin/sessions", json=body, environ_base={"REMOTE_ADDR": f"203.0.113.{n}"})
    limited = ada.sign_in()
    assert (code_of(limited), limited.json["challenge"]) == ((429, "too_many_attempts"), True)
    verifier.valid_tokens = {"solved"}
    assert ada.sign_in(challenge="solved").status_code == 201
