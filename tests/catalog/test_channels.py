"""Lists of channels and the guide over HTTP: order, filters, pages, caching, languages, and what operators edit."""

from datetime import timedelta

import pytest

from tests.worlds.channel_steps import LiveWorld, rating
from tests.worlds.playback_steps import error_of

CHANNELS = "/v1/catalog/channels"


@pytest.fixture
def world(app):
    return LiveWorld(app)


def names(caller, query=""):
    response = caller.get(f"{CHANNELS}?{query}")
    assert response.status_code == 200, response.json
    return [item["name"] for item in response.json["items"]]


def put_some(world):
    for number, name, members in [
        ("10", "Ten", {"genres": ["News"], "languages": ["en-GB"], "group": "World"}),
        ("2.1", "Two One", {"countries": ["GB"]}),
        (None, "Unnumbered", {"genres": ["news", "sport"]}),
        ("2", "Two", {"languages": ["de"], "group": "World"}),
        ("1", "Adult", {"age_rating": "DE:18"}),
    ]:
        world.put_channel(name.lower().replace(" ", "-"), name=name, number=number, **members)


def test_channels_are_listed_by_number_and_filtered(world):
    put_some(world)
    viewer = world.household()
    assert names(viewer) == ["Adult", "Two", "Two One", "Ten", "Unnumbered"]
    assert names(viewer, "genre=news") == ["Ten", "Unnumbered"]
    assert names(viewer, "group=World&language=en") == ["Ten"]
    assert names(viewer, "country=GB") == ["Two One"]
    assert viewer.patch(f"/v1/profiles/{viewer.profile_id}", {"max_age": 12}).status_code == 200
    pages, cursor = [], ""
    while cursor is not None:
        page = viewer.get(f"{CHANNELS}?limit=2&include_total=true{cursor and f'&cursor={cursor}'}").json
        assert page["total"] == 4
        pages.append([item["name"] for item in page["items"]])
        cursor = page["next_cursor"]
    assert pages == [["Two", "Two One"], ["Ten", "Unnumbered"]]
    first = viewer.get(f"{CHANNELS}?limit=2").json["next_cursor"]
    assert error_of(viewer.get(f"{CHANNELS}?limit=2&genre=news&cursor={first}")) == (422, "invalid")
    assert error_of(viewer.get(f"{CHANNELS}/{world.ids['adult']}")) == (404, "not_found")


def test_now_and_next_follow_the_clock_and_so_do_caches(world):
    world.put_channel()
    viewer = world.household()
    world.put_guide(("Morning", -60, 10), ("Noon", 10, 20), ("Late", 30, 60))

    def shown():
        item = viewer.get(CHANNELS).json["items"][0]
        return [item[name] and item[name]["title"] for name in ("now", "next")]

    def etag_and_age(caller):
        headers = caller.get(CHANNELS).headers
        return headers["ETag"], headers["Cache-Control"]

    assert shown() == ["Morning", "Noon"]
    etag, age = etag_and_age(world.operator)
    assert age == "private, max-age=600"
    assert etag_and_age(viewer)[1] == "private, no-cache", "another profile may be selected"
    world.clock.advance(minutes=10, seconds=-1)
    assert etag_and_age(world.operator) == (etag, "private, max-age=1")
    assert world.operator.call("GET", CHANNELS, If_None_Match=etag).status_code == 304
    world.clock.advance(seconds=1)
    assert world.operator.call("GET", CHANNELS, If_None_Match=etag).status_code == 200
    assert shown() == ["Noon", "Late"]
    world.clock.advance(minutes=15)
    assert shown() == [None, "Late"], "a gap"
    world.clock.advance(hours=1)
    assert shown() == [None, None]
    world.put_channel(windows=[{"ends_at": (world.clock() + timedelta(minutes=5)).isoformat()}])
    assert etag_and_age(world.operator)[1] == "private, max-age=300", "a window closes"


def test_the_guide_is_a_grid_with_bounds(world):
    for number in range(1, 4):
        world.put_channel(f"c{number}", name=f"C{number}", number=str(number))
        world.put_guide(
            ("Over", -90, -60), ("Reaching in", -60, 30), ("Late", 30, 60, rating("18")),
            ("Tomorrow", 23 * 60, 26 * 60), channel=f"c{number}",
        )  # fmt: skip
    viewer, operator = world.household(), world.operator
    times = "from=2026-01-15T12:00:00Z&to=2026-01-16T11:30:00Z"
    first = operator.get(f"/v1/catalog/programmes?{times}&limit=2").json
    assert [row["channel"]["name"] for row in first["items"]] == ["C1", "C2"]
    assert [item["title"] for item in first["items"][0]["programmes"]] == ["Reaching in", "Late", "Tomorrow"]
    rest = operator.get(f"/v1/catalog/programmes?{times}&limit=2&cursor={first['next_cursor']}").json
    assert ([row["channel"]["name"] for row in rest["items"]], rest["next_cursor"]) == (["C3"], None)
    ids = f"{world.ids['c3']},{world.ids['c1']},chn_unknown"
    chosen = operator.get(f"/v1/catalog/programmes?{times}&channel={ids}").json["items"]
    assert [row["channel"]["name"] for row in chosen] == ["C1", "C3"]
    assert viewer.patch(f"/v1/profiles/{viewer.profile_id}", {"max_age": 12}).status_code == 200
    kids = viewer.get(f"/v1/catalog/programmes?{times}").json["items"]
    assert [[item["title"] for item in row["programmes"]] for row in kids] == [["Reaching in", "Tomorrow"]] * 3
    today = viewer.get("/v1/catalog/programmes").json["items"][0]["programmes"]
    assert [item["title"] for item in today] == ["Reaching in", "Tomorrow"]
    for wrong in (
        "from=2026-01-15T12:00:00Z&to=2026-01-16T12:00:01Z",
        "from=2026-01-15T12:00:00Z&to=2026-01-15T12:00:00Z",
        "limit=51",
        f"channel={','.join(f'chn_{number}' for number in range(51))}",
    ):
        assert error_of(viewer.get(f"/v1/catalog/programmes?{wrong}")) == (422, "invalid")
    path = f"{CHANNELS}/{world.ids['c1']}/programmes?{times}"
    page = operator.get(f"{path}&limit=2&include_total=true").json
    assert ([item["title"] for item in page["items"]], page["total"]) == (["Reaching in", "Late"], 3)
    page = operator.get(f"{path}&limit=2&cursor={page['next_cursor']}").json
    assert ([item["title"] for item in page["items"]], page["next_cursor"]) == (["Tomorrow"], None)


def test_an_operator_edits_a_channel_under_audit(world):
    operator = world.operator
    path = "/v1/admin/channels/news"
    wrong = operator.put(path, {"name": "", "number": "one", "windows": [{"countries": ["XX"]}], "colour": "red"})
    assert wrong.status_code == 422
    wrong = operator.put(
        path, {"name": "N", "windows": [{"countries": ["XX"]}], "languages": ["?"], "media": {"hls": "/a//b"}}
    )
    assert sorted(wrong.json["errors"]) == ["languages", "media.hls", "windows[0].countries"]
    assert operator.put(path, {"name": "N", "external_id": "other"}).json["errors"].keys() == {"external_id"}
    created = operator.call("PUT", path, {"name": "News", "genres": ["World News"]}, If_None_Match="*")
    assert created.json | {"id": 0} == {"id": 0, "external_id": "news", "name": "News", "genres": ["world-news"]}
    assert error_of(operator.call("PUT", path, {"name": "News"}, If_None_Match="*")) == (412, "precondition_failed")
    assert operator.get(f"/v1/admin/channels/{created.json['id']}").json == created.json
    for other, stated_id in ((path, "chn_other"), (f"{path}-2", created.json["id"])):
        assert operator.put(other, {"name": "N", "id": stated_id}).json["errors"].keys() == {"id"}
    body = {"id": created.json["id"], "name": "News 24"}
    changed = operator.call("PUT", path, body, If_Match=created.headers["ETag"])
    assert changed.json["id"] == created.json["id"]
    [event, *_] = operator.get("/v1/admin/audit?object_type=channel&object_id=news").json["items"]
    assert (event["object_type"], event["object_id"]) == ("channel", "news")
    assert (event["details"]["old"], event["details"]["new"]) == (
        {"name": "News", "genres": ["world-news"]}, {"name": "News 24"})  # fmt: skip
    assert operator.delete(path).status_code == 204
    assert error_of(operator.get(path)) == (404, "not_found")
    assert error_of(operator.delete(path)) == (404, "not_found")
