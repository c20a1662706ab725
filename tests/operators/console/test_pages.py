"""Every page of the console in a browser, on two sizes: whole, accessible, small, and text alone."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.worlds.accessibility import COLOUR_RULES, find_violations, load_axe, requires_axe
from tests.worlds.browser import launch_chromium
from tests.worlds.console_steps import ALL_PAGES, DESKTOP, PHONE, SCREENSHOTS, open_page, turn_to_page

pytestmark = pytest.mark.either_database

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
