"""Passkeys with a real browser's own WebAuthn, an authenticator that Chromium plays, and cookie mode."""

import pytest

from tests.worlds.browser import chromium, served, with_a_passkey_phone

CALL = """
async ([method, path, body, csrf]) => {
  const headers = {"Content-Type": "application/json", ...(csrf ? {"X-CSRF-Token": csrf} : {})};
  const answer = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
  return [answer.status, answer.status === 204 ? null : await answer.json()];
}"""
MAKE = """
async options => (await navigator.credentials.create(
  {publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options)})).toJSON()"""
SIGN = """
async options => (await navigator.credentials.get(
  {publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options)})).toJSON()"""


@pytest.fixture
def site(database, new_app):
    """The service, served to a browser under the name that its passkeys are for."""
    with served(lambda address: new_app(database, "browser", public_url=address)) as address:
        yield address


@pytest.fixture
def page(site):
    """An empty page of the site, in a browser that has an authenticator."""
    with chromium() as browser:
        page = browser.new_page()
        page.route("**/blank", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto(f"{site}/blank")
        with_a_passkey_phone(page)
        yield page


def test_chromium_makes_a_passkey_and_signs_in_with_it_by_cookie(page):
    def call(method, path, body=None, csrf=None):
        return page.evaluate(CALL, [method, path, body, csrf])

    new = {"email": "ann@example.com", "password": "a long secret 7", "country": "DE", "cookie": True}
    status, ann = call("POST", "/v1/accounts", new)
    assert status == 201
    csrf = ann["csrf_token"]
    _, options = call("POST", "/v1/passkeys/options", csrf=csrf)
    made = {"credential": page.evaluate(MAKE, options), "name": "Laptop"}
    assert call("POST", "/v1/passkeys", made, csrf)[0] == 201
    assert call("DELETE", "/v1/sessions/current", csrf=csrf)[0] == 204
    assert call("GET", "/v1/sessions/current")[0] == 401

    _, options = call("POST", "/v1/sessions/passkey-options", {"cookie": True})
    signed = {"credential": page.evaluate(SIGN, options), "cookie": True}
    status, again = call("POST", "/v1/sessions/passkey", signed)
    assert (status, again.get("token"), again.get("account", {}).get("id")) == (201, None, ann["account"]["id"])
    status, listed = call("GET", "/v1/passkeys")
    assert (status, listed["items"][0]["name"]) == (200, "Laptop") and listed["items"][0]["last_used_at"]
    assert call("POST", "/v1/sessions/passkey", signed)[0] == 401
