"""Breached passwords beyond the built-in list: a filter built from the operator's list, and a range API."""

import gzip
import hashlib

import pytest

from streamsvc.gateways import breach_ranges
from streamsvc.gateways.peers import Peer
from streamsvc.security import breached_passwords
from streamsvc.security.password_hashing import is_listed_as_breached
from streamsvc.settings import Settings, SettingsError
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.sessions_steps import Person, code_of, operator

PLAIN = [f"quite unlikely {number}" for number in range(2_000)]


@pytest.fixture
def build_filter(tmp_path):
    """Builds a filter file from lines, and returns its path."""

    def build(lines, name="list.txt"):
        source, target = tmp_path / name, tmp_path / "breached.bloom"
        text = "\n".join(lines).encode()
        source.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        breached_passwords.build_filter(source, target, breached_passwords.count_passwords(source))
        return str(target)

    return build


@pytest.fixture
def lookup_with(app, build_filter):
    """Configures a filter of these lines, and returns the function that looks a password up."""
    settings = app.extensions["settings"]

    def configure(lines, name="list.txt"):
        app.extensions["settings"] = settings.replace(breached_passwords=build_filter(lines, name))
        return is_listed_as_breached

    with app.app_context():
        yield configure
    app.extensions["settings"] = settings


@pytest.fixture
def range_api(app, monkeypatch):
    """A range API like Have I Been Pwned's: `ranges` by the first five letters, and the `requests` it got."""

    class Ranges(LocalHandler):
        def do_GET(self):
            httpd.requests.append((self.path, self.headers["Add-Padding"]))
            body = httpd.ranges.get(self.path[-5:], "").encode()
            self.respond(200 if body else 503, body)

    with local_server(Ranges) as httpd:
        httpd.requests, httpd.ranges = [], {}
        settings = Settings.from_env({"STREAMSVC_BREACH_RANGE_URL": f"{httpd.url}/range"})
        url = {"breach_range_url": settings.breach_range_url}
        monkeypatch.setattr(breach_ranges, "PEER", Peer("breach_ranges", 10))  # a slow test machine is not an outage
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**url))
        yield httpd


def test_the_range_api_gets_five_letters_and_blocks_no_password_while_unavailable(app, client, range_api):
    breached, padded, good = "quite unlikely 1", "quite unlikely 2", "quite unlikely 3"
    for password, count in ((breached, 7), (padded, 0), (good, None)):
        suffix = f"{sha1(password)[5:]}:{count}" if count is not None else f"{'0' * 35}:3"
        range_api.ranges[sha1(password)[:5]] = f"{'F' * 35}:1\r\n{suffix}\r\n"
    ann = Person(client, "ann@example.com", breached)
    assert list(ann.sign_up().json["errors"]) == ["password"]
    assert range_api.requests == [(f"/range/{sha1(breached)[:5]}", "true")]
    assert Person(client, "bob@example.com", padded).sign_up().status_code == 201
    ann.password = good
    assert ann.sign_up().status_code == 201
    range_api.ranges[sha1(good)[:5]] = f"{sha1(good)[5:]}:1"
    assert code_of(ann.sign_in()) == (401, "second_factor_required")
    range_api.ranges.clear()
    assert ann.sign_in().status_code == Person(client, "b@example.com", breached).sign_up().status_code == 201
    events = operator(app).get("/v1/admin/audit?limit=100").json["items"]
    assert [event["action"] for event in events].count("breach_lookup_failed") == 2


def sha1(password):
    return hashlib.sha1(password.encode()).hexdigest().upper()


@pytest.mark.parametrize("name", ["list.txt", "list.txt.gz"])
def test_the_filter_has_no_false_negatives_and_few_false_positives(lookup_with, name):
    is_breached = lookup_with(PLAIN, name)
    assert all(map(is_breached, PLAIN))
    assert sum(is_breached(f"not in the list {number}") for number in range(5_000)) < 10


@pytest.mark.parametrize("form", ["{}", "{}:42"])
def test_lists_may_contain_hashes_with_or_without_counts(lookup_with, form):
    is_breached = lookup_with([form.format(sha1(password)) for password in PLAIN[:5]])
    assert [is_breached(password) for password in PLAIN[:7]] == [True] * 5 + [False] * 2


def test_case_is_ignored(lookup_with):
    assert lookup_with(["quite unlikely"])("Quite UNLIKELY")


def test_a_sign_up_with_a_breached_password_is_rejected(lookup_with, client):
    lookup_with(["plausible but known"])
    body = {"email": "ann@example.com", "password": "plausible but known", "country": "DE"}
    rejected = client.post("/v1/accounts", json=body)
    assert (rejected.status_code, list(rejected.json["errors"])) == (422, ["password"])


def test_a_missing_filter_file_prevents_the_start():
    with pytest.raises(SettingsError, match="STREAMSVC_BREACHED_PASSWORDS: file /no/such does not exist"):
        Settings.from_env({"STREAMSVC_BREACHED_PASSWORDS": "/no/such"})
