"""Breached passwords beyond the core's list: a filter made from a list of the operator's."""

import gzip
import hashlib

import pytest

from streamsvc.gateways import breach_ranges
from streamsvc.security import breached_passwords
from streamsvc.security.password_hashing import is_listed_as_breached
from streamsvc.settings import Settings, SettingsError
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.sessions_steps import Person, code_of, operator

PLAIN = [f"quite unlikely {number}" for number in range(2_000)]


@pytest.fixture
def filter_of(tmp_path):
    def make(lines, name="list.txt"):
        source, target = tmp_path / name, tmp_path / "breached.bloom"
        text = "\n".join(lines).encode()
        source.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        breached_passwords.build_filter(source, target, breached_passwords.count_passwords(source))
        return str(target)

    return make


@pytest.fixture
def asking(app, filter_of):
    """Whether the service knows a password, with a filter of these lines."""
    kept = app.extensions["settings"]

    def ask(lines, name="list.txt"):
        app.extensions["settings"] = kept.replace(breached_passwords=filter_of(lines, name))
        return is_listed_as_breached

    with app.app_context():
        yield ask
    app.extensions["settings"] = kept


@pytest.fixture
def ranges(app, monkeypatch):
    """A service as Have I Been Pwned is: `answers` by first five letters, `asked` for."""

    class Ranges(LocalHandler):
        def do_GET(self):
            httpd.asked.append((self.path, self.headers["Add-Padding"]))
            body = httpd.answers.get(self.path[-5:], "").encode()
            self.respond(200 if body else 503, body)

    with local_server(Ranges) as httpd:
        httpd.asked, httpd.answers = [], {}
        settings = Settings.from_env({"STREAMSVC_BREACH_RANGE_URL": f"{httpd.url}/range"})
        url = {"breach_range_url": settings.breach_range_url}
        monkeypatch.setattr(breach_ranges, "TIMEOUT_S", 10)  # whoever is slow here is this machine
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**url))
        yield httpd


def test_a_service_that_knows_more_hears_five_letters_and_stops_nobody_while_it_is_away(app, client, ranges):
    known, pads, good = "quite unlikely 1", "quite unlikely 2", "quite unlikely 3"
    for password, count in ((known, 7), (pads, 0), (good, None)):
        told = f"{sha1(password)[5:]}:{count}" if count is not None else f"{'0' * 35}:3"
        ranges.answers[sha1(password)[:5]] = f"{'F' * 35}:1\r\n{told}\r\n"
    ann = Person(client, "ann@example.com", known)
    assert list(ann.sign_up().json["errors"]) == ["password"]
    assert ranges.asked == [(f"/range/{sha1(known)[:5]}", "true")]
    assert Person(client, "bob@example.com", pads).sign_up().status_code == 201
    ann.password = good
    assert ann.sign_up().status_code == 201
    ranges.answers[sha1(good)[:5]] = f"{sha1(good)[5:]}:1"
    assert code_of(ann.sign_in()) == (401, "second_factor_required")
    ranges.answers.clear()
    assert ann.sign_in().status_code == Person(client, "b@example.com", known).sign_up().status_code == 201
    told = operator(app).get("/v1/admin/audit?limit=100").json["items"]
    assert [entry["action"] for entry in told].count("breach_lookup_failed") == 2


def sha1(password):
    return hashlib.sha1(password.encode()).hexdigest().upper()


@pytest.mark.parametrize("name", ["list.txt", "list.txt.gz"])
def test_every_password_of_the_list_is_known_and_hardly_another(asking, name):
    is_known = asking(PLAIN, name)
    assert all(map(is_known, PLAIN))
    assert sum(is_known(f"never heard of {number}") for number in range(5_000)) < 10


@pytest.mark.parametrize("form", ["{}", "{}:42"])
def test_a_list_may_hold_hashes_with_or_without_counts(asking, form):
    is_known = asking([form.format(sha1(password)) for password in PLAIN[:5]])
    assert [is_known(password) for password in PLAIN[:7]] == [True] * 5 + [False] * 2


def test_capitals_do_not_make_another_password(asking):
    assert asking(["quite unlikely"])("Quite UNLIKELY")


def test_who_signs_up_with_one_hears_so(asking, client):
    asking(["plausible but known"])
    body = {"email": "ann@example.com", "password": "plausible but known", "country": "DE"}
    refused = client.post("/v1/accounts", json=body)
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["password"])


def test_a_filter_that_is_not_there_refuses_the_start():
    with pytest.raises(SettingsError, match="STREAMSVC_BREACHED_PASSWORDS: there is no file"):
        Settings.from_env({"STREAMSVC_BREACHED_PASSWORDS": "/no/such"})
