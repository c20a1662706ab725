"""Chromium, and an app that is served to it.

Where it or the extra `e2e` is missing the test is skipped; `make browser` runs it.
"""

import shutil
import socket
import threading
from contextlib import contextmanager

import pytest
from werkzeug.serving import make_server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = "--no-sandbox --disable-gpu --disable-quic --disable-background-networking --disable-component-update".split()

PHONE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
"""An authenticator that Chromium plays itself: its owner is always there, and always recognised."""


@contextmanager
def chromium():
    """A running Chromium, to be asked for pages."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra `e2e` is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def served(make):
    """The address of the app that `make(address)` gives."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://localhost:{port}"
    server = make_server("127.0.0.1", port, make(address), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def with_a_passkey_phone(page):
    """Give a page an authenticator."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": PHONE})
