"""The demo's storefront: off by default, from this host alone, and a browser signs up and subscribes with it."""

import re
import time

import pytest

from streamsvc.app import create_app
from streamsvc.rules.totp import STEP_S, code_at
from tests.billing_world import World
from tests.browser import chromium, served
from tests.conftest import close


@pytest.fixture
def site(database, new_app):
    """The service with its storefront, served to a browser."""

    def shop(address):
        app = new_app(database, "storefront", storefront=True, public_url=address)
        World(app).plan("standard", 999)
        return app

    with served(shop) as address:
        yield address


def test_it_is_off_unless_it_is_asked_for(client):
    for path in ("/", "/storefront/storefront.js"):
        answer = client.get(path)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_the_page_and_its_parts_come_from_this_host_alone(app):
    shop = create_app(app.extensions["settings"].but(storefront=True))
    client = shop.test_client()
    page = client.get("/")
    assert page.content_type == "text/html; charset=utf-8"
    parts = re.findall(r'(?:src|href)="(storefront/[^"]+)"', page.text)
    assert [(part, client.get(part).content_type) for part in parts] == [
        ("storefront/storefront.css", "text/css; charset=utf-8"),
        ("storefront/storefront.js", "text/javascript; charset=utf-8"),
    ]
    assert not re.search(r"<style|style=|<script(?! type=\"module\" src=)|\son\w+=", page.text)
    for answer in (page, *map(client.get, parts)):
        assert "https:" not in answer.text and "http:" not in answer.text
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src")
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/storefront/none.js", "/storefront/../__init__.py", "/storefront/%2e%2e/__init__.py"):
        assert client.get(path).status_code == 404
    assert client.get("/", headers={"If-None-Match": page.headers["ETag"]}).status_code == 304
    close(shop)


CALL = """
async ([method, body]) => {
  const me = await (await fetch("/v1/sessions/current")).json();
  const headers = {"Content-Type": "application/json", "X-CSRF-Token": me.csrf_token};
  return await (await fetch("/v1/account/totp", {method, headers, body: JSON.stringify(body)})).json();
}
"""


def test_chromium_signs_up_is_told_of_a_decline_subscribes_and_trusts_its_device(site):
    with chromium() as browser:
        page = browser.new_context(locale="en-US").new_page()
        wrong, asked = [], set()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.add(request.url.split("/")[2]))
        page.goto(f"{site}/#/sign-up")
        for label, text in {"name": "Ann", "E-mail": "ann@example.com", "Password": "a long secret 7"}.items():
            page.get_by_label(label).fill(text)
        page.get_by_role("button", name="Create the account").click()
        page.get_by_role("link", name="Choose it").click()
        page.get_by_label("cards").select_option("Card that declines")
        page.get_by_role("button", name="Subscribe").click()
        page.get_by_role("alert").get_by_text("declined").wait_for()
        page.get_by_label("cards").select_option("Visa that pays")
        page.get_by_role("button", name="Subscribe").click()
        page.get_by_role("heading", name="Genres").wait_for()
        page.get_by_role("link", name="Plans").click()
        page.get_by_text("active, next bill on").wait_for()
        step = int(time.time()) // STEP_S  # the served app has the wall clock
        secret = page.evaluate(CALL, ["POST", {}])["secret"]
        page.evaluate(CALL, ["PUT", {"code": code_at(secret, step)}])
        for code in (code_at(secret, step + 1), None):  # the second time this device is trusted
            page.goto(f"{site}/#/account")
            page.get_by_role("button", name="Sign out").click()
            page.get_by_role("link", name="Sign in", exact=True).first.click()
            page.get_by_label("E-mail").fill("ann@example.com")
            page.get_by_label("Password", exact=True).fill("a long secret 7")
            page.get_by_role("button", name="Sign in").click()
            if code:
                page.get_by_label("Code of your authenticator").fill(code)
                page.get_by_label("Trust this device").check()
                page.get_by_role("button", name="Sign in").click()
            page.get_by_role("heading", name="Genres").wait_for()
        assert (wrong, asked) == ([], {site.removeprefix("http://")})
