"""Passkeys in Chromium, with its own WebAuthn, a virtual authenticator and cookie sessions."""

import pytest

from tests.worlds.browser import add_authenticator, launch_chromium, serve_app

CALL_API = """
async ([method, path, body, csrf]) => {
  const headers = {"Content-Type": "application/json", ...(csrf ? {"X-CSRF-Token": csrf} : {})};
  const response = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
  return [response.status, response.status === 204 ? null : await response.json()];
}"""
CREATE_PASSKEY = """
async options => (await navigator.credentials.create(
  {publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options)})).toJSON()"""
USE_PASSKEY = """
async options => (await navigator.credentials.get(
  {publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options)})).toJSON()"""


@pytest.fixture
def site(database, new_app):
    """The URL of the service, served under the host name that its passkeys are bound to."""
    with serve_app(lambda url: new_app(database, "browser", public_url=url)) as url:
        yield url


@pytest.fixture
def page(site):
    """An empty page of the site, in a browser with an authenticator."""
    with launch_chromium() as browser:
        page = browser.new_page()
        page.route("**/blank", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto(f"{site}/blank")
        add_authenticator(page)
        yield page


def test_chromium_creates_a_passkey_and_signs_in_with_it_by_cookie(page):
    def call(method, path, body=None, csrf=None):
        return page.evaluate(CALL_API, [method, path, body, csrf])

    account = {"email": "ann@example.com", "password": "a long secret 7", "country": "DE", "cookie": True}
    status, ann = call("POST", "/v1/accounts", account)
    assert status == 201
    csrf = ann["csrf_token"]
    _, options = call("POST", "/v1/passkeys/options", csrf=csrf)
    passkey = {"credential": page.evaluate(CREATE_PASSKEY, options), "name": "Laptop"}
    assert call("POST", "/v1/passkeys", passkey, csrf)[0] == 201
    assert call("DELETE", "/v1/sessions/current", csrf=csrf)[0] == 204
    assert call("GET", "/v1/sessions/current")[0] == 401

    _, options = call("POST", "/v1/sessions/passkey-options", {"cookie": True})
    sign_in = {"credential": page.evaluate(USE_PASSKEY, options), "cookie": True}
    status, session = call("POST", "/v1/sessions/passkey", sign_in)
    assert (status, session.get("token"), session.get("account", {}).get("id")) == (201, None, ann["account"]["id"])
    status, passkeys = call("GET", "/v1/passkeys")
    assert (status, passkeys["items"][0]["name"]) == (200, "Laptop") and passkeys["items"][0]["last_used_at"]
    assert call("POST", "/v1/sessions/passkey", sign_in)[0] == 401
