import pytest

from tests.worlds.browser import serve_app
from tests.worlds.console_world import ConsoleWorld


@pytest.fixture
def world(database, new_app):
    """The console, served to a browser, with something in each of its pages."""
    apps = []

    def create(url):
        apps.append(new_app(database, "console", public_url=url))
        return apps[0]

    with serve_app(create) as url:
        yield ConsoleWorld(apps[0], url).fill()
