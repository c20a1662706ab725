"""The demo's storefront: off by default, from this host alone, and a browser signs up and subscribes with it."""

import re
import time
from datetime import timedelta
from pathlib import Path

import pytest

from streamsvc import clock
from streamsvc.app import create_app
from streamsvc.models import Session
from streamsvc.operations.outbox import mail
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.conftest import close_app
from tests.worlds.billing_world import World
from tests.worlds.browser import chromium, served, with_a_passkey_phone
from tests.worlds.sessions_steps import mails, new_person

STREAMSVC = Path(mail.__file__).parent.parent.parent


@pytest.fixture
def site(database, new_app):
    """The address of the service with its storefront, served to a browser, and its app."""
    apps = []

    def shop(address):
        apps.append(new_app(database, "storefront", storefront=True, public_url=address))
        World(apps[0]).plan("standard", 999)
        return apps[0]

    with served(shop) as address:
        yield address, apps[0]


def test_it_is_off_unless_it_is_asked_for(client):
    for path in ("/", "/storefront/storefront.js"):
        answer = client.get(path)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_the_page_and_its_parts_come_from_this_host_alone(app):
    shop = create_app(app.extensions["settings"].replace(storefront=True))
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
    close_app(shop)


def test_every_page_that_a_mail_or_another_page_leads_to_exists():
    js = (STREAMSVC / "pages/static/storefront.js").read_text()
    listed = ",".join(re.findall(r"^const (?:MAILED|PAGES|OWN) = \{(.*?)\};", js, re.S | re.M))
    pages = set(re.findall(r'(?:^|,)\s*"?([\w-]+)"?\s*(?=[:,]|$)', listed))
    files = [file for kind in ("py", "txt", "js", "html") for file in STREAMSVC.rglob(f"*.{kind}")]
    files += (STREAMSVC.parent / "docs").glob("*.md")
    led_to = {page for file in files for page in re.findall(r"#/([\w-]+)", file.read_text())}
    assert {"activate", "sign-in", "title"} <= led_to
    assert (led_to | set(mail.PAGE_BY_KIND.values())) - pages == set()


def test_chromium_signs_up_is_told_of_a_decline_subscribes_and_trusts_its_device(site):
    site, _ = site
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
        page.goto(f"{site}/#/security")
        page.get_by_role("button", name="Add an app").click()
        secret = page.locator("code").text_content()
        page.get_by_label("Code that it shows").fill(totp_code(secret, step))
        page.get_by_role("button", name="Turn it on").click()
        page.get_by_role("heading", name="Your recovery codes").wait_for()
        on_paper = page.locator("code").first.text_content()
        ways = (on_paper, False), (totp_code(secret, step + 1), True), (None, False)  # trusted the last time
        for code, trust in ways:
            page.goto(f"{site}/#/account")
            page.get_by_role("button", name="Sign out").click()
            page.get_by_role("link", name="Sign in", exact=True).first.click()
            page.get_by_label("E-mail").fill("ann@example.com")
            page.get_by_label("Password", exact=True).fill("a long secret 7")
            page.get_by_role("button", name="Sign in").click()
            if code and not trust:
                page.get_by_role("button", name="Use a recovery code").click()
            if code:
                page.get_by_label("Code of your authenticator" if trust else "recovery codes").fill(code)
                page.get_by_label("Trust this device").set_checked(trust)
                page.get_by_role("button", name="Sign in").click()
            page.get_by_role("heading", name="Genres").wait_for()
        assert (wrong, asked) == ([], {site.removeprefix("http://")})


def test_chromium_signs_in_by_a_mailed_link_and_adds_a_passkey_once_it_has_proved_who_asks(site):
    site, app = site
    bob = new_person(app.test_client(), "bob")
    with chromium() as browser:
        page = browser.new_page()
        with_a_passkey_phone(page)
        page.goto(f"{site}/#/sign-in")
        page.get_by_label("E-mail").fill(bob.email)
        page.get_by_role("button", name="Mail me a link").click()
        page.get_by_role("heading", name="Look into your mail").wait_for()
        sent = []
        page.on("request", lambda request: request.method == "GET" or sent.append(request.url.split("/v1")[1]))
        page.goto(re.search(r"http\S+", mails(app, bob.email, "magic_link")[0]["text"])[0])
        page.get_by_role("heading", name="Sign in with your link").wait_for()
        assert sent == []
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Genres").wait_for()
        with app.app_context():
            db.session.query(Session).update({"authenticated_at": clock.now() - timedelta(hours=1)})
            db.session.commit()
        page.goto(f"{site}/#/security")
        page.get_by_role("button", name="Add a passkey").click()
        for password in ("a wrong one 7", bob.password):
            page.get_by_role("dialog").get_by_label("Your password").fill(password)
            page.get_by_role("button", name="Go on").click()
            if password != bob.password:
                page.get_by_role("dialog").get_by_text("The password is incorrect.").wait_for()
        page.get_by_role("button", name="Remove Web browser").wait_for()
        page.goto(f"{site}/#/account")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("link", name="Sign in", exact=True).first.click()
        page.get_by_role("button", name="Use a passkey").click()
        page.get_by_role("heading", name="Genres").wait_for()
