"""The demo storefront: off by default, loads nothing from other hosts, lets a browser sign up and subscribe."""

import re
import time
from datetime import timedelta
from pathlib import Path

import pytest

from streamsvc import clock
from streamsvc.app import create_app
from streamsvc.models import Session
from streamsvc.operations.outbox import mail
from streamsvc.rules.sign_in.access import ACCESS_KINDS
from streamsvc.rules.sign_in.totp import STEP_S, totp_code
from streamsvc.storage.database import db
from tests.conftest import close_app
from tests.worlds.billing_world import World
from tests.worlds.browser import add_authenticator, launch_chromium, serve_app
from tests.worlds.catalog_world import Catalog
from tests.worlds.sessions_steps import mails, new_person, verify

pytestmark = pytest.mark.either_database

PRELOADED = ("i18n", "dom", "elements", "api", "messages", "browse", "titles")
STREAMSVC = Path(mail.__file__).parent.parent.parent


@pytest.fixture
def site(database, new_app):
    """The URL of a served app with the storefront enabled, and the app itself."""
    apps = []

    def create(url):
        apps.append(new_app(database, "storefront", storefront=True, usernames=True, public_url=url))
        World(apps[0]).plan("standard", 999)
        return apps[0]

    with serve_app(create) as url:
        yield url, apps[0]


def test_the_storefront_is_off_by_default(client):
    for path in ("/", "/storefront/storefront.js"):
        response = client.get(path)
        assert (response.status_code, response.json["code"]) == (404, "not_found")


def test_the_page_loads_its_files_only_from_its_own_host(app):
    storefront = create_app(app.extensions["settings"].replace(storefront=True))
    client = storefront.test_client()
    page = client.get("/")
    assert page.content_type == "text/html; charset=utf-8"
    files = re.findall(r'(?:src|href)="(storefront/[^"]+)"', page.text)
    assert [(file, client.get(file).content_type) for file in files] == [
        ("storefront/storefront.css", "text/css; charset=utf-8"),
        *((f"storefront/{name}.js", "text/javascript; charset=utf-8") for name in (*PRELOADED, "storefront")),
    ]
    assert not re.search(r"<style|style=|<script(?! type=\"module\" src=)|\son\w+=", page.text)
    for response in (page, *map(client.get, [*files, "storefront/payment.js", "storefront/i18n/de.js"])):
        assert "https:" not in response.text and not re.search(r"http:(?!//(localhost|127\.))", response.text)
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src") and "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/storefront/none.js", "/storefront/../__init__.py", "/storefront/%2e%2e/__init__.py"):
        assert client.get(path).status_code == 404
    assert client.get("/", headers={"If-None-Match": page.headers["ETag"]}).status_code == 304
    close_app(storefront)


@pytest.mark.one_database
@pytest.mark.parametrize(("folder", "start"), [("storefront", "storefront.js"), ("console", "app.js")])
def test_every_module_that_a_page_imports_is_served(app, folder, start):
    storefront = create_app(app.extensions["settings"].replace(storefront=True))
    client, seen, modules = storefront.test_client(), set(), [start]
    while modules:
        name = modules.pop()
        seen.add(name)
        response = client.get(f"/{folder}/{name}")
        assert (response.status_code, response.content_type) == (200, "text/javascript; charset=utf-8"), name
        imported = re.findall(r'(?:from |import\()"\./([\w./-]+)"', response.text)
        modules += {each for each in imported if "/" not in name} - seen - set(modules)
    assert {"elements.js", "dom.js", "api.js"} <= seen
    close_app(storefront)


def test_every_page_linked_from_a_mail_or_another_page_exists():
    js = (STREAMSVC / "pages/static/storefront.js").read_text()
    table = re.search(r"^const PAGES = \{(.*?)^\};", js, re.S | re.M)[1]
    pages = {name: module for name, module in re.findall(r'^  "?([\w-]*)"?: \["(\w+)"', table, re.M)}
    mailed = (STREAMSVC / "pages/static/mailed.js").read_text()
    for name, module in pages.items():
        assert (STREAMSVC / f"pages/static/{module}.js").exists()
        assert module != "mailed" or f'"{name}": ' in mailed
    files = [file for kind in ("py", "txt", "js", "html") for file in STREAMSVC.rglob(f"*.{kind}")]
    files = [file for file in files if file.parent.name != "console"]  # which has pages of its own
    files += (STREAMSVC.parent / "docs").glob("*.md")
    linked = {page for file in files for page in re.findall(r"(?<!console)#/(?!components/)([\w-]+)", file.read_text())}
    assert {"activate", "sign-in", "title"} <= linked
    assert (linked | set(mail.PAGE_BY_KIND.values())) - set(pages) == set()


@pytest.mark.one_database
def test_every_kind_of_access_has_a_name():
    js = (STREAMSVC / "pages/static/mailed.js").read_text()
    names = re.search(r"^export const ACCESS_NAMES = \{(.*?)^\};", js, re.M | re.S)[1]
    assert re.findall(r"(\w+): t\(\"", names) == list(ACCESS_KINDS)


def test_chromium_signs_up_sees_a_decline_subscribes_and_trusts_its_device(site):
    url, _ = site
    with launch_chromium() as browser:
        page = browser.new_context(locale="en-US").new_page()
        errors, hosts = [], set()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(f"{url}/#/sign-up")
        for label, text in {"Your name": "Ann", "Email": "ann@example.com", "Password": "a long secret 7"}.items():
            page.get_by_label(label).fill(text)
        page.get_by_role("button", name="Create account").click()
        page.get_by_role("link", name="Choose this plan").click()
        page.get_by_label("Sandbox cards").select_option("Card: payment is declined")
        page.get_by_role("button", name="Subscribe").click()
        page.get_by_role("alert").get_by_text("declined").wait_for()
        page.get_by_label("Another card").check()
        page.get_by_label("Sandbox cards").select_option("Visa: payment succeeds")
        page.get_by_role("button", name="Subscribe").click()
        page.get_by_role("heading", name="Genres").wait_for()
        page.get_by_role("link", name="Plans").click()
        page.get_by_text("active · next billing date").wait_for()
        step = int(time.time()) // STEP_S  # the served app uses the wall clock
        page.goto(f"{url}/#/security")
        page.get_by_role("button", name="Add an app").click()
        secret = page.locator("code").text_content()
        page.get_by_label("Code from the app").fill(totp_code(secret, step))
        page.get_by_role("button", name="Activate").click()
        page.get_by_role("heading", name="Your recovery codes").wait_for()
        recovery_code = page.locator("code").first.text_content()
        # a recovery code; the next app code, trusting the device; no code, since the device is trusted
        sign_ins = (recovery_code, False), (totp_code(secret, step + 1), True), (None, False)
        for code, trust in sign_ins:
            page.goto(f"{url}/#/account")
            page.get_by_role("button", name="Sign out").click()
            page.get_by_role("link", name="Sign in", exact=True).first.click()
            page.get_by_label("Email").fill("ann@example.com")
            page.get_by_label("Password", exact=True).fill("a long secret 7")
            page.get_by_role("button", name="Sign in").click()
            if code and not trust:
                page.get_by_role("button", name="Use a recovery code").click()
            if code:
                page.get_by_label("Code from your authenticator app" if trust else "Recovery code").fill(code)
                page.get_by_label("Trust this device").set_checked(trust)
                page.get_by_role("button", name="Sign in").click()
            page.get_by_role("heading", name="Genres").wait_for()
        assert (errors, hosts) == ([], {url.removeprefix("http://")})


def test_chromium_signs_in_with_a_mailed_link_and_adds_a_passkey_after_reauthentication(site):
    url, app = site
    bob = new_person(app.test_client(), "bob")
    verify(app, bob)
    assert bob.put("/v1/account/username", {"username": "bob.lee"}).status_code == 200
    with launch_chromium() as browser:
        page = browser.new_page()
        add_authenticator(page)
        page.goto(f"{url}/#/sign-in")
        page.get_by_label("Email").fill(bob.email)
        page.get_by_role("button", name="Email me a link").click()
        page.get_by_role("heading", name="Check your email").wait_for()
        writes = []
        page.on("request", lambda request: request.method == "GET" or writes.append(request.url.split("/v1")[1]))
        page.goto(re.search(r"http\S+", mails(app, bob.email, "magic_link")[0]["text"])[0])
        page.get_by_role("heading", name="Sign in with your link").wait_for()
        assert writes == []
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Genres").wait_for()
        with app.app_context():
            db.session.query(Session).update({"authenticated_at": clock.now() - timedelta(hours=1)})
            db.session.commit()
        page.goto(f"{url}/#/security")
        page.get_by_role("button", name="Add a passkey").click()
        for password in ("a wrong one 7", bob.password):
            page.get_by_role("dialog").get_by_label("Your password").fill(password)
            page.get_by_role("button", name="Continue").click()
            if password != bob.password:
                page.get_by_role("dialog").get_by_text("The password is incorrect.").wait_for()
        page.get_by_role("button", name="Remove Web browser").wait_for()
        page.goto(f"{url}/#/account")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("link", name="Sign in", exact=True).first.click()
        page.get_by_role("button", name="Use a passkey").click()
        page.get_by_role("heading", name="Genres").wait_for()

        not_me = re.search(r"http\S+", mails(app, bob.email, "factor_added")[0]["text"])[0]
        page.goto(not_me)
        page.get_by_role("button", name="Show what will be removed").click()
        page.get_by_text("The password stops working").wait_for()
        assert "Username “bob.lee”" in page.locator("main").inner_text()
        page.get_by_role("button", name="Remove it").click()
        page.get_by_text("It is removed.").wait_for()
        page.goto(f"{not_me}&again")
        page.get_by_role("button", name="Remove it").click()
        page.get_by_role("alert").get_by_text("Contact support, or reset your password.").wait_for()
        page.goto(re.search(r"http\S+", mails(app, bob.email, "password_reset")[0]["text"])[0])
        page.get_by_label("New password").fill("another secret 8")
        assert page.get_by_role("option").first.inner_text() == "No, it was only me"
        page.get_by_role("button", name="Save password").click()
        page.get_by_text("Password saved. Sign in.").wait_for()


def test_chromium_shows_a_public_catalogue_and_moves_a_visitors_list(site):
    url, app = site
    catalog = Catalog(app)
    for name, country in (("A German film", "DE"), ("An American film", "US")):
        catalog.put(name, windows=[{"countries": [country]}], genres=["drama"])
    ann = new_person(app.test_client(), "ann")
    private = app.extensions["settings"]
    with launch_chromium() as browser:
        page = browser.new_context(locale="en-DE").new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.get_by_role("heading", name="Choose a plan").wait_for()
        assert not page.get_by_role("searchbox").is_visible() and "German film" not in page.content()
        app.extensions["settings"] = private.replace(catalog="public")
        page.reload()
        page.get_by_role("heading", name="Genres").wait_for()
        page.get_by_role("heading", name="Choose a plan").wait_for()
        assert "An American film" not in page.content()
        page.get_by_role("link", name="Drama").click()
        page.get_by_role("heading", name="Drama").wait_for()
        page.get_by_role("link", name="A German film").click()
        page.get_by_text("Choose a plan to watch this.").wait_for()
        page.get_by_role("button", name="Add to watchlist").click()
        page.get_by_role("button", name="In your watchlist").wait_for()
        page.goto(f"{url}/#/")
        page.get_by_role("heading", name="Your list").wait_for()
        page.goto(f"{url}/#/account")
        page.get_by_label("Email").fill(ann.email)
        page.get_by_label("Password", exact=True).fill(ann.password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Genres").wait_for()
        assert page.get_by_role("heading", name="Your list").count() == 0
        assert page.evaluate("localStorage.ownList") is None
        page.get_by_role("link", name="A German film").first.click()
        page.get_by_role("button", name="In your watchlist").wait_for()
        assert errors == []
    profile = ann.get("/v1/sessions/current").json["profiles"][0]["id"]
    assert [i["title"]["title"] for i in ann.get(f"/v1/profiles/{profile}/watchlist").json["items"]] == [
        "A German film"
    ]


def test_chromium_offers_no_plan_without_a_price(site):
    url, app = site
    world = World(app)
    price = world.plan("premium", 1999)
    ann = new_person(app.test_client(), "ann")
    ann.post("/v1/payment-methods", {"token": "pm_card_visa"})
    bought = ann.post("/v1/subscriptions", {"price_id": price}, headers={"Idempotency-Key": "bought"})
    assert bought.status_code == 201, bought.json
    world.put_plan("premium", [])
    with launch_chromium() as browser:
        page = browser.new_context(locale="en-US").new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/#/plans")
        page.get_by_role("heading", name="Standard", exact=True).wait_for()
        assert page.get_by_text("Premium").count() == 0
        page.goto(f"{url}/#/sign-in")
        page.get_by_label("Email").fill(ann.email)
        page.get_by_label("Password", exact=True).fill(ann.password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Genres").wait_for()
        page.get_by_role("link", name="Plans").click()
        page.get_by_text("Premium · active · next billing date").wait_for()  # theirs, which they keep
        page.get_by_role("heading", name="Standard", exact=True).wait_for()
        assert page.get_by_role("heading", name="Premium").count() == 0
        world.put_plan("standard", [])
        page.context.new_cdp_session(page).send("Network.clearBrowserCache")  # plans may be a minute old in it
        page.reload()
        page.get_by_text("No plan is sold here at the moment.").wait_for()
        assert page.get_by_role("link", name="Switch to this plan").count() == 0
        page.goto(f"{url}/#/buy/{price}")
        page.get_by_text("This price is not available to you.").wait_for()
        assert page.get_by_role("button", name="Change plan").count() == 0 and errors == []


def test_chromium_redeems_gifts_by_keyboard_and_says_why_a_code_is_refused(site):
    url, app = site
    world = World(app)
    dollars, used, wrong, plan = (
        world.operator.post("/v1/admin/gift-codes", body).json["code"]
        for body in (
            {"amount_minor": 2500, "currency": "USD"},
            {"amount_minor": 700, "currency": "USD"},
            {"amount_minor": 700, "currency": "EUR"},
            {"price_id": world.plan("premium", 1999), "periods": 3},
        )
    )
    eva = new_person(app.test_client(), "eva")
    assert eva.post("/v1/gift-redemptions", {"code": used}).status_code == 201
    bob = new_person(app.test_client(), "bob")
    verify(app, bob)
    with launch_chromium() as browser:
        page = browser.new_context(locale="en-US").new_page()
        errors, writes = [], []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: "Content Security" in message.text and errors.append(message.text))
        page.on("request", lambda request: "gift-redemptions" in request.url and writes.append(request.post_data_json))
        page.goto(f"{url}/#/gift?code={dollars}")
        page.get_by_role("link", name="Sign in to your account").click()
        page.get_by_label("Email").fill(bob.email)
        page.get_by_label("Password", exact=True).fill(bob.password)
        page.get_by_role("button", name="Sign in").click()
        field = page.get_by_label("Gift code")
        field.wait_for()
        assert (field.input_value(), writes) == (dollars, [])  # kept while signing in; nothing is sent before a click

        def redeem(code):
            page.get_by_role("heading", name="Redeem a gift").wait_for()
            assert page.evaluate("document.activeElement.tagName") == "H1"
            page.keyboard.press("Tab")
            page.keyboard.press("ControlOrMeta+a")
            page.keyboard.type(code)
            page.keyboard.press("Enter")

        redeem(f" {dollars.lower()} ")
        page.get_by_text("$25.00 of credit is in your account.").wait_for()
        assert writes == [{"code": dollars}]
        for code, words in {
            "BCDF-GHJK-LMNP-QRST": "We do not know this code.",
            used: "This gift has already been redeemed.",
            wrong: "This gift is in EUR, and your account is billed in another currency.",
        }.items():
            page.goto(f"{url}/#/account")
            page.get_by_role("link", name="Redeem a gift").click()
            redeem(code)
            page.get_by_role("alert").get_by_text(words).wait_for()
        page.goto(f"{url}/#/gift?code={plan}")
        page.get_by_role("button", name="Redeem").click()
        page.get_by_text("Your subscription is paid for until").wait_for()
        page.get_by_role("link", name="Start watching").click()
        page.get_by_role("heading", name="Genres").wait_for()
        assert errors == []
