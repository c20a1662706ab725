"""Seeding the demo: its viewer has a plan and rows to play from, and seeding again changes nothing."""

import json
import re

import pytest

from streamsvc.operations.maintenance import demo
from streamsvc.rules.catalog.codes import COUNTRIES
from tests.worlds.playback_steps import World

RECORDS = [json.loads(line) for line in (demo.FOLDER / "titles.ndjson").read_text(encoding="utf-8").splitlines()]
ROWS = json.loads((demo.FOLDER / "rows.json").read_text(encoding="utf-8"))


def seed(app):
    with app.app_context():
        now = app.extensions["clock"]()
        demo.seed_rows(now)
        demo.seed_accounts_and_plans(now)
        return {"email": demo.EMAIL, "password": demo.demo_password()}


def sign_in(app, credentials):
    response = app.test_client().post("/v1/sessions", json=credentials)
    assert response.status_code == 201, response.json
    return response.json, {"Authorization": f"Bearer {response.json['token']}"}


def state(app, credentials):
    session, headers = sign_in(app, credentials)
    client, profile = app.test_client(), session["profiles"][0]["id"]
    assert client.patch("/v1/sessions/current", json={"profile_id": profile}, headers=headers).status_code == 200
    home = client.get("/v1/catalog/home", headers=headers).json["items"]
    rows = [(row["kind"], row["title"], [item["title"] for item in row["items"]]) for row in home]
    kept = {name: session[name] for name in ("subscription", "profiles", "entitlements")}
    return kept, rows, client.get("/v1/invoices", headers=headers).json["items"]


def test_the_viewer_has_a_plan_profiles_and_rows_and_nothing_is_seeded_twice(app):
    world = World(app)
    others = {name for row in ROWS["collections"] for name in row["items"] if not name.startswith("demo:")}
    films = [{"external_id": name, "kind": "movie", "title": name[5:]} for name in sorted(others)]
    world.put_titles(*RECORDS, *films)
    credentials = seed(app)
    seeded = state(app, credentials)
    kept, rows, invoices = seeded
    assert (kept["subscription"]["status"], kept["subscription"]["plan"]) == ("active", "premium")
    assert [(profile["name"], profile["kids"]) for profile in kept["profiles"]] == [("Demo", False), ("Kids", True)]
    assert rows[0] == (
        "collection",
        "Videos in this demo",
        ["Colour Bars", "Test Patterns", "Game of Life", "Gradients"],
    )
    assert [invoice["status"] for invoice in invoices] == ["paid"]
    seed(app)
    assert state(app, credentials) == seeded
    rearranged = {"items": [{"kind": "new"}]}
    assert world.operator.put("/v1/admin/home", rearranged).status_code in (200, 204)
    seed(app)
    assert [kind for kind, *_ in state(app, credentials)[1]] == ["new"]


@pytest.mark.one_database
def test_every_video_of_the_demo_belongs_to_a_title_and_has_a_folder_of_its_own():
    named = re.findall(r'"hls": "/media/demo/([^/"]+)/master.m3u8"', json.dumps(RECORDS))
    folders = {path.name for path in demo.MEDIA.iterdir()}
    assert len(named) == len(set(named)) == 8
    assert set(named) | {demo.STAND_IN} == folders


@pytest.mark.one_database
def test_the_storefronts_countries_are_those_of_the_service():
    source = (demo.FOLDER.parent / "pages/static/countries.js").read_text()
    assert set(re.search(r'CODES =\s+"([A-Z ]+)"', source)[1].split()) == set(COUNTRIES)
