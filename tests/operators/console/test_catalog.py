"""The console's catalogue: the home page, collections, imports, titles and their windows."""

from pathlib import Path

import pytest

from tests.worlds.browser import launch_chromium, tab_to
from tests.worlds.console_steps import ALL_PAGES, DESKTOP, PHONE, SCREENSHOTS, act, listed, open_page
from tests.worlds.console_world import PROBE
from tests.worlds.sessions_steps import run_jobs

pytestmark = [
    pytest.mark.either_database,
    pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it"),
]


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


def box_of(item):
    """Return where an element is, once it is shown: a list that was just saved is drawn again."""
    item.wait_for()
    return item.bounding_box()


def mouse_down_and_move(page, item, to):
    """Press the mouse on a row and move it, as a hand does, beyond the middle of another one."""
    start, end = box_of(item), box_of(to)
    beyond = 0.9 if end["y"] > start["y"] else 0.1
    page.mouse.move(start["x"] + 200, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + 220, end["y"] + end["height"] * beyond, steps=6)


def touch_and_move(page, item, to, x):
    """Put a finger on an element and move it beyond the middle of a row, then lift it."""
    start, end = box_of(item), box_of(to)
    devtools = page.context.new_cdp_session(page)
    x, y, last = start["x"] + start["width"] * x, start["y"] + start["height"] / 2, end["y"] + end["height"] * 0.9
    devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 7):
        point = {"x": x, "y": y + (last - y) * step / 6}
        devtools.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


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
