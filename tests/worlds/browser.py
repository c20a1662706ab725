"""A headless Chromium, and an app served to it over HTTP.

Tests are skipped where Chromium or the extra `e2e` is not installed; `make browser` runs them.
"""

import shutil
import socket
import threading
from contextlib import contextmanager

import pytest
from werkzeug.serving import make_server

from tests.worlds.local_server import POLL_INTERVAL_S

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--no-sandbox --disable-gpu --disable-quic --disable-background-networking --disable-component-update".split()
MAX_TABS = 60

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
"""Options of Chromium's virtual authenticator: the user is always present and always verified."""


def require_playwright():
    """Return Playwright's module; skip the test if it or Chromium is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `e2e` is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    return playwright


@contextmanager
def launch_chromium(*flags):
    """Run Chromium, with further `flags`, and yield Playwright's browser."""
    with require_playwright().sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def serve_app(create):
    """Serve the app that `create(url)` returns to a browser, in a thread, and yield its URL.

    Skips the test if there is no browser, before it creates the app.
    """
    require_playwright()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://localhost:{port}"
    server = make_server("127.0.0.1", port, create(url), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(POLL_INTERVAL_S,))
    thread.start()
    try:
        yield url
    finally:  # a failed test must not leave the thread running, or the test run would never end
        server.shutdown()
        thread.join()
        server.server_close()


def add_authenticator(page):
    """Give the page a virtual WebAuthn authenticator."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})


def tab_to(page, name):
    """Press Tab until the control with this name has the focus; return it. Fails if it is not reached."""
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if not focused.count():  # between the last control and the first
            continue
        text = focused.evaluate("e => e.labels?.[0]?.textContent ?? e.ariaLabel ?? e.textContent")
        if text.strip() == name:
            return focused
    raise AssertionError(f"the focus does not reach {name}")
