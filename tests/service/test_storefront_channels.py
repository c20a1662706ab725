"""The storefront shows live channels: on the home page, in a list, in search; and plays one."""

from datetime import timedelta

import pytest

from streamsvc import clock
from streamsvc.operations.catalog.channels import guide
from streamsvc.rules.catalog.programmes import Airing, ProgrammeRecord, build_schedule
from streamsvc.storage.database import db
from tests.worlds.billing_world import World
from tests.worlds.browser import launch_chromium, serve_app
from tests.worlds.catalog_world import Catalog
from tests.worlds.sessions_steps import new_person


@pytest.fixture
def site(database, new_app):
    """The URL of a served app with a public catalogue of channels, and the app itself."""
    apps = []

    def create(url):
        apps.append(new_app(database, "live", storefront=True, catalog="public", public_url=url))
        return apps[0]

    with serve_app(create) as url:
        put_channels(apps[0])
        yield url, apps[0]


def put_channels(app):
    catalog = Catalog(app)
    catalog.put("A film", genres=["drama"])
    channels = {
        "one": {"name": "News One", "number": "1", "group": "News", "age_rating": "DE:0"},
        "two": {"name": "Channel with a name that is much longer than its card is wide", "number": "2"},
        "night": {"name": "Night", "number": "3", "age_rating": "DE:18"},
        "far": {"name": "Far away", "number": "4", "windows": [{"countries": ["JP"]}]},
    }
    for name, members in channels.items():
        media = {"media": {"hls": f"https://cdn.example/{name}.m3u8"}}
        assert catalog.client.put(f"/v1/admin/channels/{name}", json=members | media).status_code == 200
    with app.app_context():
        now = clock.now()
        schedule = [
            Airing(now + timedelta(minutes=start), now + timedelta(minutes=end), ProgrammeRecord(title))
            for title, start, end in (("Morning talk", -20, 10), ("Weather", 10, 15), ("Football", 15, 90))
        ]
        assert guide.replace_programmes("one", build_schedule(schedule)) is not None
        db.session.commit()


@pytest.mark.one_database
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_chromium_shows_channels_to_a_visitor_and_plays_one_for_a_subscriber(site, width, height, tmp_path):
    url, app = site
    price = World(app).plan("standard", 999)
    ann = new_person(app.test_client(), "ann")
    with launch_chromium() as browser:
        page = browser.new_context(locale="en-DE", viewport={"width": width, "height": height}).new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))

        def look(name):
            page.screenshot(path=tmp_path / f"{name}.png")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"

        page.goto(url)
        page.get_by_role("heading", name="On now").wait_for()
        page.get_by_text("Morning talk").wait_for()
        assert "Night" not in page.content() and "Far away" not in page.content()
        look("visitor-home")
        page.get_by_role("link", name="All channels").click()
        page.get_by_role("heading", name="Channels").wait_for()
        look("visitor-channels")
        page.get_by_role("link", name="1 News One").click()
        page.get_by_text("Choose a plan to watch this.").wait_for()
        page.get_by_text("Football").wait_for()
        look("visitor-channel")
        page.goto(f"{url}/#/search?q=football")
        page.get_by_role("heading", name="Channels and programmes").wait_for()
        page.get_by_role("link", name="1 News One").wait_for()
        look("visitor-search")
        assert page.get_by_role("link", name="Night").count() == 0
        assert ann.post("/v1/payment-methods", {"token": "pm_card_visa"}).status_code == 201
        key = {"Idempotency-Key": "the-only-order"}
        assert ann.post("/v1/subscriptions", {"price_id": price}, headers=key).status_code == 201
        page.goto(f"{url}/#/sign-in")
        page.get_by_label("Email").fill(ann.email)
        page.get_by_label("Password", exact=True).fill(ann.password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="On now").wait_for()
        page.get_by_role("link", name="3 Night").wait_for()
        page.get_by_role("link", name="1 News One").click()
        page.get_by_role("link", name="Watch live").click()
        page.get_by_text("https://cdn.example/one.m3u8", exact=True).wait_for()
        look("subscriber-plays")
        [stream] = ann.get("/v1/playback").json["items"]
        assert stream["item_id"].startswith("chn_")
        for external_id in ("one", "two", "night", "far"):
            assert Catalog(app).client.delete(f"/v1/admin/channels/{external_id}").status_code == 204
        page.goto(f"{url}/#/channels")
        page.get_by_text("There are no channels for you here.").wait_for()
        look("subscriber-no-channels")
        page.goto(f"{url}/#/channel/chn_none")
        page.get_by_role("heading", name="Something went wrong").wait_for()
        look("subscriber-missing")
        assert errors == []
