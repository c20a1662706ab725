"""Browser front ends on other origins: which origins may call the API, with what, and what their pages may read."""

from contextlib import contextmanager

import pytest

from streamsvc.app import create_app
from streamsvc.http.cors import EXPOSED_HEADERS, REQUEST_HEADERS
from streamsvc.security.access import public
from streamsvc.settings import Settings
from tests.conftest import close_app
from tests.worlds.authenticator import Authenticator
from tests.worlds.billing_world import World
from tests.worlds.browser import launch_chromium, serve_app
from tests.worlds.local_server import LocalHandler, local_server
from tests.worlds.sessions_steps import Person, code_of, new_person

pytestmark = pytest.mark.either_database

FRONT_END, CONSOLE = "https://app.example", "https://ops.example:8443"
FOREIGN = (
    "https://evil.example",
    "http://app.example",
    "https://app.example:444",
    "https://app.example.evil.example",
    "https://xapp.example",
    "https://APP.example",
    "https://app.example/",
    "null",
    "",
    f"{FRONT_END}, {CONSOLE}",
)
SIGN_UP = {"email": "ann@example.com", "password": "a long secret 7", "country": "DE"}


@pytest.fixture(scope="module")
def configured_app(shared_app):
    """An app with two front ends on other origins, on the database of `app`."""
    settings = shared_app.extensions["settings"].replace(cors_origins=(FRONT_END, CONSOLE))
    app = create_app(settings, shared_app.extensions["clock"])
    app.add_url_rule("/v1/broken", view_func=public(lambda: {}["broken"]))
    yield app
    close_app(app)


@pytest.fixture
def cors_app(app, configured_app):
    """The configured app on an empty database."""
    return configured_app


@pytest.fixture
def front_end(cors_app):
    return cors_app.test_client(use_cookies=False)


def preflight(client, origin, path="/v1/account", method="PATCH"):
    headers = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "x-any"}
    return client.options(path, headers=headers)


def cors_headers(response):
    return {name for name, _ in response.headers if name.startswith("Access-Control-")}


@pytest.mark.one_database
@pytest.mark.parametrize("path", ["/v1/account", "/v1/plans", "/v1/admin/accounts", "/v1/nowhere", "/openapi.json"])
@pytest.mark.parametrize("origin", [FRONT_END, CONSOLE])
def test_a_preflight_of_a_listed_origin_needs_no_authentication(front_end, origin, path):
    response = preflight(front_end, origin, path)
    assert (response.status_code, response.data) == (204, b"")
    headers = response.headers
    assert headers["Access-Control-Allow-Origin"] == origin
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST, PUT, PATCH, DELETE"
    assert headers["Access-Control-Allow-Headers"].split(", ") == list(REQUEST_HEADERS)
    assert (headers["Access-Control-Max-Age"], headers["Vary"]) == ("7200", "Origin")
    assert headers["X-Request-Id"].startswith("req_")


@pytest.mark.one_database
@pytest.mark.parametrize(
    "call, status",
    [
        (("GET", "/v1/plans"), 200),
        (("GET", "/livez"), 200),
        (("GET", "/v1/account"), 401),
        (("GET", "/v1/nowhere"), 404),
        (("DELETE", "/v1/plans"), 405),
        (("GET", "/v1/plans?x=1"), 422),
        (("POST", "/v1/sessions"), 422),
        (("GET", "/v1/broken"), 500),
        (("OPTIONS", "/v1/plans"), 200),
    ],
)
def test_every_response_may_be_read_by_listed_origins_only(cors_app, call, status):
    client, (method, path) = cors_app.test_client(use_cookies=False), call
    response = client.open(path, method=method, headers={"Origin": FRONT_END})
    assert response.status_code == status
    assert response.headers["Access-Control-Allow-Origin"] == FRONT_END
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    assert response.headers["Access-Control-Expose-Headers"].split(", ") == list(EXPOSED_HEADERS)
    assert response.headers.getlist("Vary") == ["Origin"]
    for origin in FOREIGN:
        response = client.open(path, method=method, headers={"Origin": origin})
        assert (response.status_code, cors_headers(response)) == (status, set()), origin
        assert response.headers.getlist("Vary") == ["Origin"]


def test_unreachable_storage_is_reported_to_front_ends_too():
    settings = Settings(
        database_url="postgresql+psycopg://nobody@127.0.0.1:1/none", secret_key=("x" * 32,), cors_origins=(FRONT_END,)
    )
    response = create_app(settings).test_client().get("/v1/plans", headers={"Origin": FRONT_END})
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (503, FRONT_END)


@pytest.mark.one_database
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_preflight_of_another_origin_gets_no_permission(front_end, origin):
    for path in ("/v1/account", "/v1/plans"):
        response = preflight(front_end, origin, path)
        assert (cors_headers(response), response.headers["Vary"]) == (set(), "Origin")


@pytest.mark.one_database
def test_a_shared_cache_keeps_the_responses_of_origins_apart(front_end):
    """Publicly cacheable responses, and revalidated ones, depend on the origin, also for a request without one."""
    for headers in ({}, {"Origin": FRONT_END}, {"Origin": FOREIGN[0]}):
        response = front_end.get("/v1/plans", headers=headers)
        assert response.headers["Cache-Control"] == "public, max-age=60"
        headers |= {"If-None-Match": response.headers["ETag"]}
        not_modified = front_end.get("/v1/plans", headers=headers)
        assert not_modified.status_code == 304
        assert response.headers.getlist("Vary") == ["Origin"]
        assert not_modified.headers.getlist("Vary") == ["Origin, Accept-Encoding"]  # it may be of a compressed response
        is_listed = headers.get("Origin") == FRONT_END
        for each in (response, not_modified):
            assert ("Access-Control-Allow-Origin" in each.headers) is is_listed


@pytest.mark.one_database
def test_without_the_setting_no_response_mentions_origins(client):
    for response in (client.get("/v1/plans", headers={"Origin": FRONT_END}), preflight(client, FRONT_END)):
        assert cors_headers(response) == set() and "Vary" not in response.headers
    assert preflight(client, FRONT_END).status_code == 401


def test_a_cookie_changes_something_for_listed_origins_only_and_with_the_csrf_token_only(cors_app, front_end):
    person = new_person(front_end)
    signed_in = person.sign_in(cookie=True)
    cookie, csrf = signed_in.headers["Set-Cookie"].split(";")[0], signed_in.json["csrf_token"]
    browser = Person(front_end, person.email)
    browser.headers = {"Cookie": cookie}

    def rename(origin, **headers):
        sent = {"X-CSRF-Token": csrf, "Origin": origin} | headers
        return browser.patch("/v1/account", {"name": "Ann"}, headers={k: v for k, v in sent.items() if v})

    for site in ("same-site", "cross-site", None):
        assert rename(FRONT_END, **{"Sec-Fetch-Site": site}).status_code == 200, site
        for origin in FOREIGN:
            if origin or site == "cross-site":
                assert code_of(rename(origin, **{"Sec-Fetch-Site": site})) == (403, "csrf_token_invalid"), origin
    assert code_of(rename(FRONT_END, **{"X-CSRF-Token": None})) == (403, "csrf_token_invalid")
    assert code_of(rename(FRONT_END, **{"X-CSRF-Token": "0" * 64})) == (403, "csrf_token_invalid")


def test_a_passkey_may_be_added_and_used_by_pages_of_listed_origins(front_end):
    ann = new_person(front_end)

    def add_passkey(authenticator):
        options = ann.post("/v1/passkeys/options").json
        return ann.post("/v1/passkeys", {"credential": authenticator.make(options)})

    foreign = Authenticator(FOREIGN[0], rp_id="127.0.0.1")
    assert code_of(add_passkey(foreign)) == (422, "passkey_invalid")
    phone = Authenticator(FRONT_END, rp_id="127.0.0.1")
    assert add_passkey(phone).status_code == 201
    for origin, status in ((CONSOLE, 201), (FOREIGN[0], 401)):
        phone.origin = origin
        options = front_end.post("/v1/sessions/passkey-options").json
        response = front_end.post("/v1/sessions/passkey", json={"credential": phone.sign(options)})
        assert response.status_code == status, origin


FETCH = """async ([url, method, headers, body, credentials]) => {
  try {
    const response = await fetch(url, {method, headers, body: body && JSON.stringify(body), credentials});
    const text = await response.text();
    const read = Object.fromEntries(["ETag", "X-Request-Id", "Idempotency-Replayed", "Server"]
      .map(name => [name, response.headers.get(name)]));
    return {status: response.status, body: text ? JSON.parse(text) : null, headers: read};
  } catch (error) {
    return {error: error.name};
  }
}"""


class EmptyPage(LocalHandler):
    def do_GET(self):
        self.respond(200, b"<!doctype html><title>A front end</title>", **{"Content-Type": "text/html"})


class Page:
    """A page of a front end in the browser, whose script calls the API."""

    def __init__(self, browser, url, api):
        self.page, self.api = browser.new_context().new_page(), api
        self.page.goto(url)

    def fetch(self, path, method="GET", body=None, credentials="include", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers |= {"Content-Type": "application/json"} if body else {}
        return self.page.evaluate(FETCH, [f"{self.api}{path}", method, headers, body, credentials])


@contextmanager
def served_front_ends(database, new_app):
    """The API and two front ends: (API's URL on `localhost`, port of the listed one, port of the other)."""
    with local_server(EmptyPage) as listed, local_server(EmptyPage) as other:
        port = listed.server_port
        origins = (f"http://localhost:{port}", f"http://127.0.0.1:{port}")

        def create(url):
            app = new_app(database, "cors", public_url=url, cors_origins=origins)
            World(app).plan("standard", 999)
            return app

        with serve_app(create) as api:
            yield api, port, other.server_port


@pytest.mark.one_database
def test_chromium_lets_a_listed_origin_sign_in_and_change_things(database, new_app):
    with served_front_ends(database, new_app) as (api, port, other_port), launch_chromium() as browser:
        # the same site on another origin: cookies work, with the CSRF token
        page = Page(browser, f"http://localhost:{port}", api)
        plans = page.fetch("/v1/plans", X_Request_Id="from-the-page")
        assert (plans["status"], plans["headers"]["X-Request-Id"]) == (200, "from-the-page")
        assert page.fetch("/v1/plans", If_None_Match=plans["headers"]["ETag"])["status"] in (200, 304)
        assert plans["headers"]["ETag"] and plans["headers"]["Server"] is None
        unknown = page.fetch("/v1/nowhere")
        assert (unknown["status"], unknown["body"]["code"]) == (404, "not_found")
        created = page.fetch("/v1/accounts", "POST", SIGN_UP, Idempotency_Key="sign-up")
        assert (created["status"], created["body"]["account"]["email"]) == (201, SIGN_UP["email"])
        assert page.fetch("/v1/accounts", "POST", SIGN_UP, Idempotency_Key="sign-up")["headers"]["Idempotency-Replayed"]
        credentials = {"email": SIGN_UP["email"], "password": SIGN_UP["password"]}
        signed_in = page.fetch("/v1/sessions", "POST", credentials | {"cookie": True})
        assert signed_in["status"] == 201 and "token" not in signed_in["body"]
        assert page.fetch("/v1/account")["status"] == 200
        assert page.fetch("/v1/account", "PATCH", {"name": "Ann"})["body"]["code"] == "csrf_token_invalid"
        csrf = page.fetch("/v1/sessions/current")["body"]["csrf_token"]
        renamed = page.fetch("/v1/account", "PATCH", {"name": "Ann"}, X_CSRF_Token=csrf)
        assert (renamed["status"], renamed["body"]["name"]) == (200, "Ann")

        # an origin that is not listed, of the same site and in the same browser: the browser blocks it
        page.page.goto(f"http://localhost:{other_port}")
        for credentials_mode in ("include", "omit"):
            assert page.fetch("/v1/plans", credentials=credentials_mode) == {"error": "TypeError"}
        assert page.fetch("/v1/account", "PATCH", {"name": "Eve"}, X_CSRF_Token=csrf) == {"error": "TypeError"}
        assert page.fetch("/v1/account") == {"error": "TypeError"}
        page.page.goto(f"http://localhost:{port}")
        assert page.fetch("/v1/account")["body"]["name"] == "Ann"

        # a listed origin of another site: the browser sends no cookie, but tokens work
        page = Page(browser, f"http://127.0.0.1:{port}", api)
        by_cookie = page.fetch("/v1/sessions", "POST", credentials | {"cookie": True})
        assert by_cookie["status"] == 201
        assert page.fetch("/v1/account")["body"]["code"] == "not_signed_in"
        token = page.fetch("/v1/sessions", "POST", credentials)["body"]["token"]
        authorized = {"Authorization": f"Bearer {token}", "credentials": "omit"}
        renamed = page.fetch("/v1/account", "PATCH", {"name": "Anna"}, **authorized)
        assert (renamed["status"], renamed["body"]["name"]) == (200, "Anna")
        assert page.fetch("/v1/account", **authorized)["body"]["name"] == "Anna"
