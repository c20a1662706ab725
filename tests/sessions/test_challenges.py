"""A challenge passes a shut door once, asked of a verifier that answers over HTTP as Turnstile and hCaptcha do."""

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
    """`good`: the tokens of solved challenges, each good once. `asked`: what it was sent. `status`: how it answers."""

    def __init__(self):
        self.good, self.asked, self.status = set(), [], 200

    def answer(self, form):
        self.asked.append(form)
        solved = form["secret"] == SECRET and form["response"] in self.good
        self.good.discard(form["response"])
        return {"success": solved, "error-codes": [] if solved else ["invalid-input-response"]}


@pytest.fixture(scope="module")
def server():
    class Siteverify(LocalHandler):
        def do_POST(self):
            form = {name: value for name, [value] in parse_qs(self.read_body().decode()).items()}
            self.respond(httpd.verifier.status, httpd.verifier.answer(form))

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
    """Ann, whose door a stranger has shut."""
    ann = new_person(client)
    for n in range(5):
        guess(client, f"203.0.113.{n}")
    return ann


def guess(client, address, email="ann@example.com", **more):
    body = {"email": email, "password": "a wrong guess"} | more
    return client.post("/v1/sessions", json=body, environ_base={"REMOTE_ADDR": address})


def test_a_solved_challenge_lets_one_attempt_by_and_no_more(ann, verifier):
    shut = ann.sign_in()
    assert (code_of(shut), shut.json["challenge"]) == ((429, "too_many_attempts"), True)
    verifier.good = {"solved"}
    assert ann.sign_in(challenge="solved").status_code == 201
    assert verifier.asked == [{"secret": SECRET, "response": "solved", "remoteip": "127.0.0.1"}]


def test_it_is_good_for_one_guess_and_the_wait_goes_on(client, ann, verifier):
    verifier.good = {"solved"}
    assert guess(client, "198.51.100.1", challenge="solved").status_code == 401
    again = guess(client, "198.51.100.1", challenge="solved")
    assert (again.status_code, again.json["challenge"], again.headers["Retry-After"]) == (429, True, "120")


@pytest.mark.parametrize("token", ["made up", ""])
def test_what_the_verifier_does_not_know_opens_nothing(ann, verifier, token):
    answer = ann.sign_in(challenge=token)
    assert answer.status_code == (429 if token else 422)


@pytest.mark.parametrize("away", ["down", "failing"])
def test_while_the_verifier_is_away_the_door_stays_shut(app, ann, verifier, monkeypatch, away):
    verifier.good = {"solved"}
    verifier.status = 500
    if away == "down":
        settings = app.extensions["settings"].replace(challenge_url="http://127.0.0.1:9/siteverify")
        monkeypatch.setitem(app.extensions, "settings", settings)
    assert code_of(ann.sign_in(challenge="solved")) == (429, "too_many_attempts")


def test_after_a_hundred_guesses_in_a_row_no_challenge_helps(app, client, ann, verifier):
    with app.app_context():
        execute_write(
            sa.update(RateLimitCounter).where(RateLimitCounter.key.startswith("sign_in.account")).values(count=98)
        )
    verifier.good = {f"solved {n}" for n in range(4)}
    answers = [guess(client, f"198.51.100.{n}", challenge=f"solved {n}").status_code for n in range(4)]
    assert answers == [401] * 2 + [429] * 2


def test_an_open_door_asks_the_verifier_nothing(client, verifier):
    bob = new_person(client, "bob")
    assert bob.sign_in(challenge="whatever").status_code == 201
    assert verifier.asked == []


def test_an_address_that_tried_too_often_passes_its_ten_minutes_but_not_its_hour(client, verifier):
    verifier.good = {"solved"}
    for _ in range(20):
        guess(client, "203.0.113.9", email="somebody@example.com")
    answers = [guess(client, "203.0.113.9", email="somebody@example.com") for _ in range(60)]
    assert {answer.status_code for answer in answers} == {429}
    assert guess(client, "203.0.113.9", email="another@example.com", challenge="solved").status_code == 401


def test_without_a_verifier_no_challenge_is_spoken_of(app, ann, verifier, monkeypatch):
    settings = app.extensions["settings"].replace(challenge_url="", challenge_secret="")
    monkeypatch.setitem(app.extensions, "settings", settings)
    shut = ann.sign_in(challenge="solved")
    assert shut.status_code == 429 and "challenge" not in shut.json
    assert verifier.asked == []


def test_an_operators_shut_door_opens_the_same_way(app, verifier):
    ada = enrolled(app, "admin", "ada")
    for n in range(5):
        body = {"email": ada.email, "password": "a wrong guess"}
        app.test_client().post("/v1/admin/sessions", json=body, environ_base={"REMOTE_ADDR": f"203.0.113.{n}"})
    shut = ada.sign_in()
    assert (code_of(shut), shut.json["challenge"]) == ((429, "too_many_attempts"), True)
    verifier.good = {"solved"}
    assert ada.sign_in(challenge="solved").status_code == 201
