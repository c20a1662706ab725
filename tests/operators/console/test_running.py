"""The console's room for what runs: jobs, webhooks, streams, operators, API keys, exports."""

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from streamsvc import clock
from streamsvc.blueprints.console import FILES as CONSOLE
from streamsvc.models import OperatorSession
from streamsvc.rules.sign_in.totp import totp_code
from streamsvc.storage.database import db
from tests.worlds.browser import launch_chromium
from tests.worlds.console_steps import ALL_PAGES, DESKTOP, PHONE, act, listed, open_page
from tests.worlds.console_world import wall_step

pytestmark = [
    pytest.mark.either_database,
    pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it"),
]


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
