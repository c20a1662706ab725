"""What operators do for viewers in the console, and which rooms a role sees."""

import re

import pytest

from streamsvc.rules.sign_in.totp import totp_code
from tests.worlds.browser import launch_chromium, tab_to
from tests.worlds.console_steps import ALL_PAGES, PHONE, act, open_page
from tests.worlds.console_world import PASSWORD, wall_step

pytestmark = [
    pytest.mark.either_database,
    pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it"),
]


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
