"""Steps of an operator in the console: pages, dialogs, and what the API lists afterwards."""

import os

from tests.worlds.console_world import PROBE

SCREENSHOTS = os.environ.get("STREAMSVC_TEST_SCREENSHOTS")
"""A folder for pictures of the pages, to be looked at."""
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
ALL_PAGES = os.environ.get("STREAMSVC_TEST_CONSOLE") == "every"
"""`make browser` sets it; `make test` walks a few pages on a phone."""


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


def listed(world, path):
    return world.admin.get(f"/v1/admin/{path}").json["items"]
