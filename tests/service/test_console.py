"""The operators' console in a browser: every page on two sizes, what an operator does there, and who may see what."""

import csv
import io
import os
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.blueprints.console import FILES as CONSOLE
from streamsvc.models import OperatorSession
from streamsvc.rules.sign_in.totp import totp_code
from streamsvc.storage.database import db
from tests.worlds.accessibility import COLOUR_RULES, find_violations, load_axe, requires_axe
from tests.worlds.browser import launch_chromium, serve_app, tab_to
from tests.worlds.console_world import PASSWORD, PROBE, ConsoleWorld, wall_step
from tests.worlds.sessions_steps import run_jobs

pytestmark = pytest.mark.either_database

SCREENSHOTS = os.environ.get("STREAMSVC_TEST_SCREENSHOTS")
"""A folder for pictures of the pages, to be looked at."""
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
MAX_PAGE_BYTES = 150_000
LOOKS = {
    "phone": ({"viewport": PHONE, "color_scheme": "light"}, None),
    "desktop": ({"viewport": DESKTOP, "color_scheme": "light"}, None),
    "dark": ({"viewport": DESKTOP, "color_scheme": "dark"}, COLOUR_RULES),
}
"""How a page may look, and the ids of axe's rules that this can break; None: all."""
PAGES = [
    "",
    *("viewers", "viewers?q=an", "viewer/{ann}", "viewer/{bob}", "viewer/{ann}/invoices", "viewer/{ann}/devices"),
    "viewer/{ann}/explain",
    *(
        f"running/{part}"
        for part in ("health", "jobs", "webhooks", "audit", "streams", "usage", "operators", "keys", "settings")
    ),
    *(f"money/{part}" for part in ("plans", "invoices", "coupons", "gifts", "changes", "disputes", "taxes", "holds")),
    *(
        f"catalog/{part}"
        for part in ("titles", "home", "collections/best", "imports", "coverage", "coverage/no_window")
    ),
    *("catalog/title/{film}", "account"),
]
ALL_PAGES = os.environ.get("STREAMSVC_TEST_CONSOLE") == "every"
"""`make browser` sets it; `make test` walks a few pages on a phone."""


@pytest.fixture
def world(database, new_app):
    """The console, served to a browser, with something in each of its pages."""
    apps = []

    def create(url):
        apps.append(new_app(database, "console", public_url=url))
        return apps[0]

    with serve_app(create) as url:
        yield ConsoleWorld(apps[0], url).fill()


def open_page(world, page, path):
    """Load a page of the console and wait until it is complete."""
    page.goto("about:blank")  # else the page before would still be there
    page.goto(f"{world.url}/console#/{fill_path(world, path)}")
    page.locator("main h1").wait_for()
    check_heading(page, path)


def turn_to_page(world, page, path):
    """Go to another page of the console by a link, without a reload, and wait until it is complete."""
    leave = "hash => { document.querySelector('main h1').dataset.left = ''; location.hash = hash }"
    page.evaluate(leave, f"#/{fill_path(world, path)}")
    page.locator("main h1:not([data-left])").wait_for()
    check_heading(page, path)


def fill_path(world, path):
    return path.format(film=world.titles[PROBE], **{name: viewer.id for name, viewer in world.viewers.items()})


def check_heading(page, path):
    assert page.locator("main h1").inner_text() not in ("Something went wrong", "Page not found"), (
        path,
        page.locator("main").inner_text(),
    )


@requires_axe
def test_every_page_is_accessible_small_and_of_one_host(world):
    """A room is loaded once, with all its files; each of its pages is checked in each of the LOOKS."""
    found, hosts, errors, files, room, sizes = [], set(), [], set(), None, {}

    def note(request):
        url = urlsplit(request.url)
        hosts.add(url.netloc)
        if not url.path.startswith("/v1/"):
            files.add(url.path)

    def size_of(file):  # as the service sends it: the browser may have it in a cache
        return sizes.setdefault(file, len(world.app.test_client().get(file).data))

    with launch_chromium() as browser:
        page = world.context(browser, "admin", bypass_csp=True).new_page()
        page.on("request", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        for path in PAGES if ALL_PAGES else PAGES[:2]:
            page.set_viewport_size(PHONE)
            last, room = room, re.match("[a-z]*", path)[0]
            if room == last:
                turn_to_page(world, page, path)
            else:
                files.clear()
                open_page(world, page, path)
                load_axe(page)
            assert 40_000 < sum(map(size_of, files)) < MAX_PAGE_BYTES, path
            for look, (options, rules) in LOOKS.items() if ALL_PAGES else [("phone", LOOKS["phone"])]:
                page.set_viewport_size(options["viewport"])
                page.emulate_media(color_scheme=options["color_scheme"])
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                    f"{path} is too wide ({look})"
                )
                found += [(look, path, *violation) for violation in find_violations(page, rules)]
                if SCREENSHOTS:
                    name = path.format(ann="ann", bob="bob", film="film").replace("/", "-").replace("?", "-") or "today"
                    page.screenshot(path=Path(SCREENSHOTS) / f"{look}-{name}.png", full_page=True)
    assert found == []
    assert (errors, hosts) == ([], {world.url.removeprefix("http://")})


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_an_invited_operator_enrols_signs_in_and_finds_a_viewer_by_keyboard_alone(world):
    token = world.invite("support", "grace")
    with launch_chromium() as browser:
        page = browser.new_context(locale="en-GB", viewport=PHONE).new_page()
        policy_errors = []
        page.on("console", lambda message: "Content Security" in message.text and policy_errors.append(message.text))
        sent = []
        page.on("request", lambda request: request.method != "GET" and sent.append(request.url))

        page.goto(f"{world.url}/console#/operator-invitation?token={token}")
        page.get_by_role("heading", name="Become an operator").wait_for()
        assert sent == []  # mail filters open links too
        tab_to(page, "Start")
        page.keyboard.press("Enter")
        page.get_by_role("img", name="QR code for the authenticator app").wait_for()
        assert page.locator("img.qr").evaluate("e => e.complete && e.naturalWidth > 0")
        tab_to(page, "I cannot scan it")
        page.keyboard.press("Enter")
        secret = page.locator("details code").inner_text()
        step = wall_step()
        tab_to(page, "New password")
        page.keyboard.type(PASSWORD)
        tab_to(page, "Code from the app")
        page.keyboard.type(totp_code(secret, step))
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Your recovery codes").wait_for()
        recovery_code = page.locator(".codes code").first.inner_text()
        tab_to(page, "I have stored them: sign in")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Operator sign-in").wait_for()
        page.keyboard.type("grace@staff.example")
        page.keyboard.press("Tab")
        page.keyboard.type("a wrong one 7")
        page.keyboard.press("Enter")
        page.get_by_role("alert").get_by_text("incorrect").wait_for()
        page.get_by_label("Password").focus()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        page.get_by_label("Code from your authenticator app").wait_for()
        tab_to(page, "Use a recovery code")
        page.keyboard.press("Enter")
        page.keyboard.type(recovery_code)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Today").wait_for()
        assert page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"
        tab_to(page, "Viewers")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Viewers").wait_for()
        page.keyboard.type("angst")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="ann@example.com").wait_for()
        tab_to(page, "ann@example.com")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Ann Ångström").wait_for()
        tab_to(page, "Sign out everywhere")
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Preview").wait_for()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_text("1 session will end").wait_for()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_text("All sessions are ended.").wait_for()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").wait_for(state="detached")
        assert world.viewers["ann"].get("/v1/account").status_code == 401
        assert world.viewers["cleo"].get("/v1/account").status_code == 200
        tab_to(page, "Sign out")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Operator sign-in").wait_for()
        page.reload()
        page.get_by_role("heading", name="Operator sign-in").wait_for()
        assert policy_errors == []


def act(page, name, verb, expected, fill=None, steps=("Preview",), row=None):
    """Press an action's button, of a table's row or the first, fill its fields, confirm, and wait for its outcome."""
    place = page.get_by_role("row").filter(has_text=row) if row else page.locator("main")
    place.get_by_role("button", name=name, exact=True).first.click()
    dialog = page.get_by_role("dialog")
    for label, value in (fill or {}).items():
        field = dialog.get_by_label(label, exact=True)
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    for step in (*steps, verb):
        dialog.get_by_role("button", name=step, exact=True).click()
    dialog.locator(".outcome, .error:not(:empty)").wait_for()
    text = dialog.inner_text()
    assert expected in " ".join(text.split()), text
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("dialog").wait_for(state="detached")
    page.locator("main:not([aria-busy]) h1").wait_for()
    return text


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_what_is_done_for_a_viewer_is_said_before_and_after_and_happens(world):
    ann = world.viewers["ann"]
    subscription = lambda: world.admin.get(f"/v1/admin/subscriptions/{ann.subscription['id']}").json  # noqa: E731
    with launch_chromium() as browser:
        page = world.context(browser, "admin").new_page()
        open_page(world, page, "viewer/{ann}")
        act(page, "Give credit", "Give it", "€5.00", {"Amount": "5", "Currency": "EUR", "Reason": "ticket 7"})
        act(page, "Change plan", "Change it", "The plan is now Premium, €14.99 a month.")
        assert subscription()["plan"]["code"] == "premium"
        act(page, "Hold billing", "Hold", "Nothing will be billed", {"Reason": "a thief"}, steps=())
        assert subscription()["parked_reason"] == "a thief"
        act(page, "Release the hold", "Release", "The hold is released", steps=())
        act(page, "Cancel", "Cancel it", "The subscription ends")
        assert subscription()["cancel_at"]
        act(page, "Send password reset", "Send", "is on its way", steps=())
        act(page, "View as them", "Start", "This is what the owner sees", {"Reason": "ticket 7"}, steps=())
        open_page(world, page, "viewer/{cleo}/invoices")
        act(page, "Refund", "Refund", "is refunded (succeeded)", {"Amount": "1.50", "Reason": "sorry"})
        open_page(world, page, "viewer/{ann}")
        act(page, "Disable", "Disable", "is disabled and signed out", {"Reason": "asked"}, steps=())
        assert ann.get("/v1/account").status_code == 401
        page.get_by_text("Account disabled").wait_for()
        text = page.locator(".timeline").inner_text()
        assert "Account disabled" in text and "by opr_" in text and "Plan changed" in text
        open_page(world, page, "viewer/{cleo}/explain")
        page.get_by_label("Name or id of a title").fill("holiday")
        page.get_by_role("button", name="Find").click()
        page.get_by_label("Titles with that name").wait_for()
        page.get_by_role("button", name="Explain").click()
        page.get_by_text("It plays", exact=True).wait_for()
        cleo = {"Type cleo@example.com to confirm": "cleo@example.com"}
        act(page, "Close and erase", "Close it", "The account is closed.", cleo, steps=())
    assert world.viewers["cleo"].get("/v1/account").status_code == 401
    assert world.viewers["bob"].get("/v1/account").status_code == 200


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_a_role_sees_its_rooms_alone_and_the_api_refuses_the_others(world):
    rooms = {
        "support": ["Today", "Viewers", "Catalogue", "Running it"],
        "billing": ["Today", "Viewers", "Money"],
        "catalog": ["Catalogue"],
        "auditor": ["Today", "Viewers", "Catalogue", "Money", "Running it"],
    }
    with launch_chromium() as browser:
        for role, names in rooms.items():
            page, refused = world.context(browser, role).new_page(), []
            page.on(
                "response", lambda response, refused=refused: response.status == 403 and refused.append(response.url)
            )
            open_page(world, page, "account")
            assert page.get_by_role("navigation", name="Rooms").get_by_role("link").all_inner_texts() == names
            for path in ("viewer/{ann}", "money/plans", "running", "catalog/titles"):
                open_page(world, page, path)
                room = {"viewer": "Viewers", "money": "Money", "running": "Running it", "catalog": "Catalogue"}
                is_open = room[path.partition("/")[0]] in names
                assert (page.get_by_role("heading", name="Not in your role").count() == 0) == is_open, (role, path)
                if role == "auditor":
                    assert page.get_by_role("button", name="Disable").count() == 0
            if role == "auditor":
                open_page(world, page, "running/keys")
                page.get_by_role("row").filter(has_text="admin").first.wait_for()
                assert page.get_by_role("button", name=re.compile("New|Revoke")).count() == 0
            assert refused == [], f"{role}: the console asks for nothing that the role may not have"
            assert page.evaluate("fetch('v1/admin/settings').then(r => r.status)") == (
                200 if role == "auditor" else 403
            )


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_names_and_titles_stay_text(world):
    ran = "document.title === 'probe' || document.querySelector('main img, main script') !== null"
    with launch_chromium() as browser:
        page, dialogs = world.context(browser, "admin").new_page(), []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        paths = ("viewers", "viewer/{bob}", "catalog/titles", "catalog/title/{film}", "running/jobs", "running/audit")
        for path in (*paths, "viewer/{bob}/explain"):
            open_page(world, page, path)
            if path not in ("running/audit", "viewer/{bob}/explain"):
                assert "onerror=" in page.locator("main").inner_text(), path
            assert not page.evaluate(ran), path
        assert dialogs == []
        with pytest.raises(Exception, match="TrustedHTML"):  # and the browser would refuse markup from text
            page.evaluate("document.body.innerHTML = '<b>x</b>'")


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_the_home_page_is_put_in_order_by_keyboard_and_an_import_reports_what_it_rejects(world, tmp_path):
    file = tmp_path / "titles.ndjson"
    file.write_text('{"external_id": "f:1", "kind": "movie", "title": "New one"}\n{"kind": "movie"}\n')
    with launch_chromium() as browser:
        page = world.context(browser, "catalog").new_page()
        open_page(world, page, "catalog/home")
        for kind in ("new", "popular"):
            page.get_by_label("Kind").select_option(kind)
            page.get_by_role("button", name="Add a row").click()
        page.get_by_role("button", name="Move Popular up").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Save the order").click()
        page.get_by_text("The home page has 2 rows.").wait_for()
        assert [row["kind"] for row in world.admin.get("/v1/admin/home").json["items"]] == ["popular", "new"]
        open_page(world, page, "catalog/imports")
        page.get_by_label("File", exact=True).set_input_files(file)
        page.get_by_role("button", name="Import").click()
        page.get_by_role("progressbar", name="Import").wait_for()
        run_jobs(world.app)
        page.get_by_text("1 added, 0 changed, 0 unchanged, 0 removed, 1 rejected").wait_for()
        page.get_by_role("cell", name="external_id", exact=True).wait_for()
        open_page(world, page, "catalog/title/{film}")
        page.get_by_label("Year").fill("2001")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("is saved.").wait_for()
        assert world.admin.get(f"/v1/admin/titles/{world.titles[PROBE]}").json["year"] == 2001


def listed(world, path):
    return world.admin.get(f"/v1/admin/{path}").json["items"]


def plan_of(world, code):
    return next(plan for plan in world.admin.get("/v1/plans").json["items"] if plan["code"] == code)


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_plans_coupons_gift_codes_prices_and_taxes_are_stored_as_the_dialogs_say(world):
    local = [{"currency": "USD", "amount_minor": 999, "tax": "exclusive", "countries": [c]} for c in ("US", "CA")]
    product = {"source": "app_store", "product_id": "tv.standard"}
    body = plan_of(world, "standard") | {"store_products": [product]}
    stored = world.admin.put("/v1/admin/plans/standard", {**body, "prices": [*body["prices"], *local]})
    assert stored.status_code == 200, stored.json
    with launch_chromium() as browser:
        page = world.context(browser, "admin", viewport=DESKTOP).new_page()
        open_page(world, page, "money/plans")
        plan = {"Code": "family", "Name": "Family", "Streams at once": "4", "Prices": "1999 EUR month 1 14"}
        act(page, "New plan", "Save", "Family is sold at €19.99 a month, 14 days of trial.", plan)
        family = plan_of(world, "family")
        assert (family["features"]["max_streams"], family["prices"][0]["trial_days"]) == (4, 14)
        before = plan_of(world, "standard")
        act(page, "Edit Standard", "Save", "Standard TV is sold at", {"Name": "Standard TV"})
        assert plan_of(world, "standard") == before | {"name": "Standard TV"}, "what was not edited stays"
        lines = "1099 EUR month 1 0 inclusive\n999 USD month 1 0 exclusive CA"
        text = act(page, "Edit Standard TV", "Save", "€10.99 a month", {"Prices": lines})
        assert "US$9.99 a month, CA" in text
        terms = [(p["amount_minor"], p["tax"], p["countries"]) for p in plan_of(world, "standard")["prices"]]
        assert sorted(terms) == [(999, "exclusive", ["CA"]), (1099, "inclusive", None)]

        act(page, "Edit Premium", "Save", "Premium is not on sale: it has no price.", {"Prices": ""})
        act(page, "New plan", "Save", "Never is not on sale", {"Code": "never", "Name": "Never", "Prices": ""})
        item = lambda name: page.get_by_role("listitem").filter(has=page.get_by_text(name, exact=True))  # noqa: E731
        assert "not on sale\nIts last price was withdrawn on" in item("Premium").inner_text()
        assert "not on sale\nIt has never had a price. Add one to sell it." in item("Never").inner_text()
        assert item("Family").get_by_text("not on sale").count() == 0
        assert [plan["code"] for plan in world.admin.get("/v1/plans").json["items"]] == ["standard", "family"]

        open_page(world, page, "money/coupons")
        percent = {
            "Code": "SPRING",
            "Percent off": "20",
            "For": "repeating",
            "Periods": "3",
            "Redemptions at most": "9",
        }
        act(page, "New coupon", "Create", "SPRING takes 20 % off.", percent, steps=())
        act(
            page,
            "New coupon",
            "Create",
            "FIVE takes €5.00 off.",
            {"Code": "FIVE", "Amount off": "5", "Its currency": "EUR"},
            steps=(),
        )
        change = {"Redemptions at most": "10", "Expires": "2031-01-01T00:00"}
        act(page, "Change", "Save", "SPRING is changed.", change, steps=(), row="SPRING")
        coupons = {coupon["code"]: coupon for coupon in listed(world, "coupons")}
        spring = coupons["SPRING"]
        assert (float(spring["percent_off"]), spring["periods"], spring["max_redemptions"]) == (20, 3, 10)
        assert spring["expires_at"] == "2031-01-01T00:00:00Z"
        assert (coupons["FIVE"]["amount_off_minor"], coupons["FIVE"]["max_redemptions"]) == (500, None)

        open_page(world, page, "money/gifts")
        gifts = {"Amount": "25", "Currency": "EUR", "How many": "2"}
        text = act(page, "New gift codes", "Create", "2 codes, shown only now", gifts)
        assert [(code["amount_minor"], code["currency"]) for code in listed(world, "gift-codes")] == [(2500, "EUR")] * 2
        redeemed = world.viewers["cleo"].post(
            "/v1/gift-redemptions", {"code": text.split("shown only now:")[1].split()[0]}
        )
        assert redeemed.status_code in (200, 201), redeemed.json

        open_page(world, page, "money/changes")
        old, new = world.viewers["ann"].subscription["price"]["id"], plan_of(world, "family")["prices"][0]["id"]
        page.get_by_role("button", name="Change a price").click()
        choices = page.get_by_role("dialog").get_by_label("To", exact=True).get_by_role("option").all_inner_texts()
        assert len(choices) == 3 and not any("Premium" in choice for choice in choices)
        withdrawn = page.locator("#prices option", has_text="Premium: €14.99 a month, no longer sold")
        assert withdrawn.count() == 1
        page.get_by_role("button", name="Cancel").click()
        notice = {"From price": old, "To": new, "Effective": "2031-01-01", "Days of notice": "45"}
        text = act(page, "Change a price", "Announce it", "3 subscriptions move on or after 1 Jan 2031.", notice)
        [migration] = listed(world, "price-migrations")
        assert (migration["from_price_id"], migration["to_price_id"], migration["notice_days"]) == (old, new, 45)
        act(page, "Withdraw", "Withdraw", "The price change is withdrawn.", steps=())
        assert listed(world, "price-migrations")[0]["withdrawn_at"]

        open_page(world, page, "money/taxes")
        rate = {"Country": "DE", "Percent": "19", "Name": "VAT"}
        act(page, "New tax rate", "Save", "DE: 19 % VAT, from the next invoice on.", rate, steps=())
        act(page, "Change", "Save", "DE: 20.5 % VAT", {"Percent": "20.5"}, steps=(), row="DE")
        [rate] = listed(world, "tax-rates")
        assert (rate["country"], float(rate["percent"]), rate["category"]) == ("DE", 20.5, "standard")

        held = world.viewers["bob"].subscription["id"]
        assert world.admin.put(f"/v1/admin/subscriptions/{held}/parking", {"reason": "a doubt"}).status_code == 200
        open_page(world, page, "money/holds")
        page.get_by_role("row").filter(has_text="a doubt").get_by_role("button", name="Release").click()
        page.get_by_text("The hold is released").wait_for()
        assert world.admin.get(f"/v1/admin/subscriptions/{held}").json["parked_at"] is None

        open_page(world, page, "money/invoices")
        act(
            page,
            "Refund",
            "Refund",
            "is refunded (succeeded)",
            {"Amount": "2", "Reason": "late"},
            row="cleo@example.com",
        )
        refunded = [
            (invoice["customer"]["email"], payment["refunded_minor"])
            for invoice in listed(world, "invoices")
            for payment in invoice["payments"]
            if payment["refunded_minor"]
        ]
        assert refunded == [("cleo@example.com", 200)]


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_jobs_webhooks_streams_and_operators_are_changed_as_the_dialogs_say(world):
    kinds = ["mail.send"] * 3 + ["billing.renew"]
    with world.app.app_context():
        for number, kind in enumerate(kinds):
            world.add_failed_job(kind, f"error {number}")
    jobs = lambda: sorted(job["last_error"] for job in listed(world, "failed-jobs"))  # noqa: E731
    assert len(jobs()) == 5
    with launch_chromium() as browser:
        page = world.context(browser, "admin", viewport=DESKTOP).new_page()
        open_page(world, page, "running/jobs")
        act(page, "Retry", "Retry", "The job is queued again.", steps=(), row="error 0")
        act(page, "Discard", "Discard", "The job is discarded.", steps=(), row="error 1")
        many = {"Kind": "billing.renew", "Lane": "", "Reason": "obsolete"}
        act(page, "Discard many", "Discard", "1 job is discarded; 0 remain.", many)
        assert "error 3" not in jobs() and "error 2" in jobs()
        act(
            page,
            "Retry many",
            "Retry",
            "2 jobs are queued again; 0 remain.",
            {"Kind": "mail.send", "Reason": "ticket 9"},
        )
        page.get_by_text("No job has failed.").wait_for()
        assert jobs() == []
        recorded = {row["action"]: row["details"] for row in listed(world, "audit?limit=100")}
        assert recorded["jobs_retried"]["reason"] == "ticket 9" and recorded["jobs_discarded"]["reason"] == "obsolete"

        open_page(world, page, "running/webhooks")
        url = {"URL": "https://hooks.example/second"}
        act(page, "Add an endpoint", "Add", "Its signing secret, shown only now: whsec_", url, steps=())
        event = world.give_up_delivery()
        open_page(world, page, "running/webhooks")
        act(page, "Redeliver all given up", "Redeliver", "1 delivery is queued.")
        states = sorted(each["status"] for each in listed(world, "webhook-deliveries") if each["event_id"] == event)
        assert states == ["failed", "pending"]
        page.get_by_role("row").filter(has_text="pending").get_by_role("button", name="Redeliver").first.click()
        page.get_by_text("The event is queued for delivery.").wait_for()
        act(page, "Delete", "Delete", "The endpoint is deleted.", steps=(), row="https://hooks.example/second")
        assert [endpoint["url"] for endpoint in listed(world, "webhook-endpoints")] == ["https://hooks.example/console"]

        open_page(world, page, "running/streams")
        page.get_by_role("row").filter(has_text=world.viewers["ann"].id).get_by_role("button", name="Stop").click()
        page.get_by_text("The stream is stopped.").wait_for()
        assert listed(world, "streams") == []

        open_page(world, page, "running/operators")
        invited = {"Email": "hedy@staff.example", "Name": "Hedy", "Role": "billing"}
        act(
            page,
            "Invite an operator",
            "Invite",
            "The invitation is on its way to hedy@staff.example.",
            invited,
            steps=(),
        )
        act(
            page,
            "Change",
            "Change",
            "hedy@staff.example is active, as auditor.",
            {"Role": "auditor"},
            steps=(),
            row="hedy@",
        )
        act(page, "Reset", "Reset", "hedy@staff.example has a new invitation.", steps=(), row="hedy@")
        act(page, "Change", "Change", "is disabled", {"State": "disabled"}, steps=(), row="hedy@")
        hedy = next(row for row in listed(world, "operators") if row["email"] == "hedy@staff.example")
        assert (hedy["role"], hedy["status"], hedy["enrolled"]) == ("auditor", "disabled", False)

        open_page(world, page, "running/audit")
        page.get_by_role("button", name="Check the chain").click()
        page.get_by_role("status").get_by_text("intact").wait_for()
        open_page(world, page, "running/usage")
        page.get_by_label("By", exact=True).select_option("plan")
        page.get_by_role("button", name="Show", exact=True).click()
        page.get_by_role("columnheader", name="Plan").wait_for()
        open_page(world, page, "running/settings")
        page.get_by_label("Filter").fill("SANDBOX_CLOCK")
        assert page.get_by_role("rowheader").count() == 1


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_an_api_key_is_created_shown_once_and_revoked(world):
    keys = lambda name: [key for key in listed(world, "api-keys") if key["name"] == name]  # noqa: E731
    with launch_chromium() as browser:
        context = world.context(browser, "admin", viewport=PHONE)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=world.url)
        page = context.new_page()
        open_page(world, page, "running/keys")
        page.get_by_role("button", name="New API key").click()
        dialog = page.get_by_role("dialog", name="New API key")
        dialog.get_by_label("Name").fill("nightly")
        dialog.get_by_role("button", name="Preview").click()
        dialog.get_by_role("alert").get_by_text("Choose at least one scope.").wait_for()
        dialog.get_by_label("billing").check()
        dialog.get_by_label("Expires").fill("2020-01-01T00:00")
        dialog.get_by_role("button", name="Preview").click()
        dialog.get_by_role("button", name="Create").click()
        dialog.get_by_role("alert").get_by_text("must be in the future").wait_for()
        dialog.get_by_role("button", name="Back").click()
        dialog.get_by_label("Expires").fill("2031-01-01T00:00")
        dialog.get_by_role("button", name="Preview").click()
        dialog.get_by_text("Until 1 Jan 2031").wait_for()
        assert dialog.get_by_role("listitem").all_inner_texts() == ["billing: plans, invoices, refunds, reports"]

        def lose_response(route):
            if route.request.method == "GET":
                return route.continue_()
            assert route.fetch().status == 201
            route.abort()
            return page.unroute_all()

        page.route("**/v1/admin/api-keys*", lose_response)
        dialog.get_by_role("button", name="Create").click()
        dialog.get_by_role("alert").get_by_text("cannot be reached").wait_for()
        dialog.get_by_role("button", name="Create").click()
        dialog.get_by_text("Its token, shown only now:").wait_for()
        token = dialog.locator("code").inner_text()
        dialog.get_by_role("button", name="Copy").click()
        page.get_by_text("Copied.").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == token
        dialog.get_by_role("button", name="Close").click()
        [key] = keys("nightly")
        assert (key["scopes"], key["expires_at"]) == (["billing"], "2031-01-01T00:00:00Z")
        page.get_by_role("row").filter(has_text="nightly").get_by_text("never").wait_for()  # was it used
        assert token not in page.content()

        program = world.app.test_client()
        use = lambda path: program.get(f"/v1/admin/{path}", headers={"Authorization": f"Bearer {token}"})  # noqa: E731
        assert (use("coupons").status_code, use("titles").status_code) == (200, 403)
        with world.app.app_context():
            long_ago = clock.now() - timedelta(hours=1)
            db.session.execute(sa.update(OperatorSession).values(authenticated_at=long_ago))
            db.session.commit()
        page.reload()
        page.get_by_role("button", name="Revoke nightly").click()
        dialog = page.get_by_role("dialog", name="Revoke nightly")
        dialog.get_by_role("button", name="Preview").click()
        dialog.get_by_text("It was used within a week").wait_for()
        assert use("coupons").status_code == 200
        dialog.get_by_role("button", name="Revoke").click()
        asked = page.get_by_role("dialog", name="Confirm that it is you")
        asked.get_by_label("Code from your authenticator app").fill(totp_code(world.staff["admin"][2], wall_step() + 1))
        asked.get_by_role("button", name="Continue").click()
        dialog.get_by_text("nightly is revoked.").wait_for()
        dialog.get_by_role("button", name="Close").click()
        page.get_by_role("row").filter(has_text="nightly").get_by_text("revoked").wait_for()
        assert page.get_by_role("button", name="Revoke nightly").count() == 0
        assert (use("coupons").status_code, bool(keys("nightly")[0]["revoked_at"])) == (401, True)
        assert world.admin.get("/v1/admin/coupons").status_code == 200  # with another key


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_rows_and_titles_are_dragged_into_order_with_a_mouse_and_with_a_finger(world):
    rows = [{"kind": kind} for kind in ("new", "popular", "continue")]
    assert world.admin.put("/v1/admin/home", {"items": rows}).status_code == 200
    names = [world.admin.get(f"/v1/admin/titles/{world.titles[name]}").json["external_id"] for name in world.titles]
    collection = {"title": "Best", "items": names}
    assert world.admin.put("/v1/admin/collections/best", collection).status_code == 200
    kinds = lambda: [row["kind"] for row in listed(world, "home")]  # noqa: E731
    with launch_chromium() as browser:
        page = world.context(browser, "catalog", viewport=DESKTOP).new_page()
        open_page(world, page, "catalog/home")
        shown = page.locator("ol.rows li").filter(visible=True)
        mouse_down_and_move(page, shown.nth(0), shown.nth(2))
        page.mouse.up()
        page.get_by_text("New is now row 3 of 3.").wait_for()
        mouse_down_and_move(page, shown.nth(0), shown.nth(2))
        page.keyboard.press("Escape")
        page.mouse.up()
        page.get_by_role("button", name="Save the order").click()
        page.get_by_text("The home page has 3 rows.").wait_for()
        assert kinds() == ["popular", "continue", "new"]
        mouse_down_and_move(page, shown.nth(1), shown.nth(0))
        page.mouse.up()
        page.get_by_role("button", name="Save the order").click()
        page.get_by_text("Continue watching is now row 1 of 3.").wait_for(state="hidden")
        assert kinds() == ["continue", "popular", "new"]

        open_page(world, page, "catalog/collections/best")
        assert "Zoë's Holiday (1994)" in shown.nth(1).inner_text()
        mouse_down_and_move(page, shown.nth(2), shown.nth(0))
        page.mouse.up()
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("The collection best has 3 titles.").wait_for()
        best = world.admin.get("/v1/admin/collections/best").json
        assert (best["title"], best["items"]) == ("Best", [names[2], *names[:2]])
        open_page(world, page, "catalog/collections")
        page.get_by_role("link", name="Best").click()
        act(page, "Delete", "Delete", "The collection best is deleted.", steps=())
        page.get_by_text("No collection yet.").wait_for()

        page = world.context(browser, "catalog", viewport=PHONE, has_touch=True).new_page()
        open_page(world, page, "catalog/home")
        shown = page.locator("ol.rows li")
        touch_and_move(page, shown.nth(0), shown.nth(2), 0.5)  # its text: a finger scrolls there
        assert shown.first.get_by_text("Continue watching").count() == 1
        touch_and_move(page, shown.nth(0).locator(".handle"), shown.nth(2), 0.5)
        page.get_by_text("Continue watching is now row 3 of 3.").wait_for()
        page.get_by_role("button", name="Save the order").click()
        page.get_by_text("The home page has 3 rows.").wait_for()
        assert kinds() == ["popular", "new", "continue"]


def mouse_down_and_move(page, item, to):
    """Press the mouse on a row and move it, as a hand does, beyond the middle of another one."""
    start, end = item.bounding_box(), to.bounding_box()
    beyond = 0.9 if end["y"] > start["y"] else 0.1
    page.mouse.move(start["x"] + 200, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + 220, end["y"] + end["height"] * beyond, steps=6)


def touch_and_move(page, item, to, x):
    """Put a finger on an element and move it beyond the middle of a row, then lift it."""
    start, end = item.bounding_box(), to.bounding_box()
    devtools = page.context.new_cdp_session(page)
    x, y, last = start["x"] + start["width"] * x, start["y"] + start["height"] / 2, end["y"] + end["height"] * 0.9
    devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 7):
        point = {"x": x, "y": y + (last - y) * step / 6}
        devtools.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_a_csv_file_has_all_rows_or_says_that_there_are_more(world):
    with world.app.app_context():
        for number in range(249):  # and one that the world has: three pages of the API
            world.add_failed_job("mail.send", f'=error {number:03}, "quoted"')
    with launch_chromium() as browser:
        page = world.context(browser, "admin", viewport=DESKTOP).new_page()
        assert len(export_csv(world, page, "The file has 250 rows, all there are.")) == 250
        rows = export_csv(world, page, "The file has 250 rows, all there are.", most_rows=250)
        assert len({row["Error"] for row in rows}) == 250 and {row["Kind"] for row in rows} == {"mail.send"}
        assert sum(row["Error"].startswith("'=error") for row in rows) == 249
        cut = "The file has 249 rows; there are more: narrow the filters for the others."
        assert export_csv(world, page, cut, most_rows=249) == rows[:249]
        stopped = export_csv(world, page, "The file has 100 rows; there are more", stop=True)
        assert stopped == rows[:100]


def export_csv(world, page, expected, most_rows=None, stop=False):
    """Export the failed jobs, with another limit or stopped after a page; returns the file's rows."""
    page.unroute_all()
    if most_rows:
        source = (CONSOLE / "table.js").read_text()
        assert source.count("MOST_ROWS = 100_000") == 1
        lowered = source.replace("MOST_ROWS = 100_000", f"MOST_ROWS = {most_rows}")
        page.route("**/table.js", lambda route: route.fulfill(body=lowered, content_type="text/javascript"))
    open_page(world, page, "running/jobs")
    if stop:
        page.route(
            "**/failed-jobs?*", lambda route: (page.get_by_role("button", name="Stop").click(), route.continue_())
        )
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    page.get_by_text(expected).wait_for()
    assert page.get_by_role("progressbar").count() == 0
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_bytes().decode())))


@pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it")
def test_a_month_shows_the_days_of_a_titles_windows_while_they_are_edited(world):
    path = f"/v1/admin/titles/{world.titles['A Film']}"
    windows = [{"countries": ["DE", "AT"], "starts_at": "2031-02-27T18:00:00Z", "ends_at": "2031-03-02T00:00:00Z"}]
    etag = world.admin.get(path).headers["ETag"]
    assert world.admin.patch(path, {"windows": windows}, headers={"If-Match": etag}).status_code == 200
    with launch_chromium() as browser:
        page = world.context(browser, "admin", viewport=PHONE, timezone_id="Pacific/Auckland").new_page()
        page.clock.set_fixed_time("2031-02-14T23:30:00Z")  # the 15th there
        open_page(world, page, f"catalog/title/{world.titles['A Film']}")
        month = page.get_by_role("table", name="February 2031")
        assert read_open_days(month) == {"27": "AT, DE from 18:00", "28": "AT, DE"}
        assert month.locator("[aria-current=date] time").get_attribute("datetime") == "2031-02-14"
        assert month.get_by_role("columnheader").all_inner_texts()[0] == "Mon"
        assert month.locator("tbody tr").first.locator("td").all_inner_texts()[5:] == ["1", "2"], (
            "it begins on Saturday"
        )
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tab_to(page, "Next month")
        page.keyboard.press("Enter")
        march = page.get_by_role("table", name="March 2031")
        assert read_open_days(march) == {"1": "AT, DE"}
        page.get_by_label("Until (UTC)").fill("2031-03-03T06:30")
        page.get_by_label("Countries", exact=True).fill("")
        assert read_open_days(march) == {"1": "all", "2": "all", "3": "all until 06:30"}
        tab_to(page, "This month")
        page.keyboard.press("Enter")
        month.wait_for()
        if SCREENSHOTS:
            page.locator("section", has=month).screenshot(path=Path(SCREENSHOTS) / "phone-month.png")
        page.get_by_role("button", name="Save the windows").click()
        page.get_by_text("A Film is saved.").wait_for()
        saved = {"starts_at": windows[0]["starts_at"], "ends_at": "2031-03-03T06:30:00Z"}
        assert world.admin.get(path).json["windows"] == [saved]
        page.get_by_role("button", name="Remove", exact=True).click()
        month.wait_for(state="hidden")


def read_open_days(month):
    """Return the days of a month on which the title may be watched, with where and from or until when."""
    texts = (cell.split("\n") for cell in month.locator("td.open").all_inner_texts())
    return {day: " ".join(rest) for day, *rest in texts}
