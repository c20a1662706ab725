"""Facts reported by reverse proxies are accepted only from trusted ones."""

from ipaddress import ip_network

import pytest

from streamsvc.app import create_app
from streamsvc.http.trusted_proxies import TrustedProxyMiddleware
from streamsvc.storage.database import db
from tests.conftest import close_app
from tests.worlds.catalog_world import Catalog
from tests.worlds.sessions_steps import Person, mails, new_person

pytestmark = pytest.mark.either_database

PROXY, STRANGER = "10.0.0.1", "198.51.100.66"


@pytest.fixture(scope="module")
def behind_proxies(shared_app):
    trusted = {"trusted_proxies": (ip_network("10.0.0.0/8"),), "city_header": "X-City", "country_header": "X-Country"}
    app = create_app(shared_app.extensions["settings"].replace(**trusted), now=shared_app.extensions["clock"])
    yield app
    close_app(app)


@pytest.fixture
def behind(app, behind_proxies):
    """The same service on the same database, behind proxies in 10.0.0.0/8 that send city and country."""
    yield behind_proxies
    with behind_proxies.app_context():
        db.session.remove()


def through(app, peer, forwarded_for, **headers):
    """A client whose requests reach the service from `peer`."""
    client = app.test_client()
    client.environ_base = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded_for, **headers}
    return client


@pytest.mark.parametrize(
    "peer, forwarded_for, address, city",
    [
        (PROXY, "192.0.2.1, 203.0.113.9, 10.9.9.9", "203.0.113.9", "São Paulo"),
        (PROXY, "192.0.2.1, 2001:db8::7", "2001:db8::7", "São Paulo"),
        (PROXY, "203.0.113.9, nobody", PROXY, "São Paulo"),
        (STRANGER, "203.0.113.9", STRANGER, None),
        ("2001:db8::66", "203.0.113.9", "2001:db8::66", None),
    ],
)
def test_a_session_has_the_address_and_city_sent_by_trusted_proxies(behind, peer, forwarded_for, address, city):
    ann = new_person(through(behind, peer, forwarded_for, HTTP_X_CITY="São Paulo".encode().decode("latin-1")))
    [session] = ann.get("/v1/sessions").json["items"]
    assert (session["address"], session["city"]) == (address, city)


def test_a_forged_address_does_not_evade_rate_limits(behind):
    def guess(peer, forwarded_for, n):
        client = through(behind, peer, forwarded_for)
        return Person(client, f"{n}@example.com", "a wrong guess").sign_in().status_code

    assert [guess(STRANGER, f"203.0.113.{n}", n) for n in range(11)] == [401] * 10 + [429]
    assert [guess(PROXY, f"203.0.113.{n}, 2001:db8:1:1::{n}", n) for n in range(11, 22)] == [401] * 10 + [429]


@pytest.mark.parametrize(
    "header, city",
    [("K%C3%B6ln", "Köln"), ("New York", "New York"), ("", None), ("\xff", None), ("a%00b", None), ("x" * 101, None)],
)
def test_a_city_is_accepted_in_any_encoding_if_it_is_valid(behind, header, city):
    ann = new_person(through(behind, PROXY, "203.0.113.9", HTTP_X_CITY=header))
    assert ann.get("/v1/sessions").json["items"][0]["city"] == city


def test_the_owner_sees_the_city_of_a_new_device_and_of_a_pending_television(behind):
    tv = through(behind, PROXY, "203.0.113.9", HTTP_X_CITY="Porto")
    ann = new_person(behind.test_client())
    Person(tv, ann.email).sign_in()
    assert "from Porto, 203.0.113.9" in mails(behind, ann.email, "new_device")[0]["text"]
    user_code = tv.post("/v1/device-codes", json={"device": {"name": "TV", "kind": "tv"}}).json["user_code"]
    pending = ann.post("/v1/device-code-lookups", {"user_code": user_code}).json
    assert (pending["city"], pending["device"]["name"]) == ("Porto", "TV")


def test_a_country_is_accepted_only_from_a_trusted_proxy(behind):
    catalog = Catalog(behind)
    catalog.put("Film", windows=[{"countries": ["US"]}])
    ann = catalog.viewer(country="DE")

    def titles_from(peer):
        ann.client.environ_base |= {"REMOTE_ADDR": peer, "HTTP_X_COUNTRY": "us"}
        return ann.titles()

    assert (titles_from(PROXY), titles_from(STRANGER)) == (["Film"], [])


def test_no_memory_is_spent_on_long_chains_of_addresses():
    middleware = TrustedProxyMiddleware(lambda environ, _: [environ["REMOTE_ADDR"].encode()], 1)
    for forwarded_for in ("203.0.113.7", "x, " * 20_000 + "203.0.113.7"):
        environ = {"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": forwarded_for}
        assert middleware(environ, None) == [b"203.0.113.7"]
    assert middleware.find_usual_client.cache_info().currsize == 1
