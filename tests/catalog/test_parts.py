"""What episodes and extras have of their own: written, read back, merged, rejected and reported."""

import json
from datetime import timedelta

import pytest

from streamsvc.rules.catalog.parts import merge_partial_record
from tests.catalog.test_import import counts, ndjson, rejections, send
from tests.worlds.catalog_world import Catalog

SERIES = {"external_id": "x:1", "kind": "series", "title": "Serial"}
FULL = {
    "windows": [{"countries": ["us", "CA", "US"], "starts_at": "2026-01-01T01:00:00+01:00"}, {}],
    "plans": ["basic", "basic"],
    "age_rating": "us:tv-14",
    "tracks": [{"kind": "audio_description", "language": "en"}],
    "localizations": {"pt-br": {"title": "Piloto"}},
    "external_ids": {"imdb": "tt2"},
}
NORMAL = FULL | {
    "windows": [{"countries": ["CA", "US"], "starts_at": "2026-01-01T00:00:00Z"}, {}],
    "plans": ["basic"],
    "age_rating": "US:TV-14",
    "localizations": {"pt-BR": {"title": "Piloto"}},
}
EXTRA = {"kind": "trailer", "title": "Trailer", "external_id": "t:1", "runtime_s": 90, "age_rating": "DE:6"}


@pytest.fixture
def catalog(app):
    return Catalog(app)


def series(*episodes, **season):
    numbered = [{"number": number, **episode} for number, episode in enumerate(episodes, 1)]
    return {"seasons": [{"number": 1, "episodes": numbered, **season}]}


@pytest.mark.every_database
def test_the_parts_of_a_title_survive_an_export_and_an_import(catalog):
    season = {"windows": [], "plans": [], "age_rating": "DE:12"}
    extra = EXTRA | {"windows": FULL["windows"], "artwork": [{"role": "still", "url": "/a.jpg"}]}
    extra |= {"media": {"hls": "/t/a.m3u8"}, "variants": [{"path": "v1/", "height": 720}], "tracks": FULL["tracks"]}
    record = SERIES | series(FULL, {"windows": None, "tracks": None}, **season) | {"extras": [extra]}
    assert counts(send(catalog, ndjson(record))) == [1, 0, 0, 0]
    path = f"/v1/catalog/titles/{catalog.get('/v1/admin/titles/x:1').json['id']}"
    before = [catalog.get(f"{path}/episodes").json, catalog.get(path).json]
    exported = catalog.get("/v1/admin/catalog-exports/ndjson").data
    stored = json.loads(exported)
    assert stored["seasons"] == series(NORMAL, {}, **season)["seasons"]
    assert stored["extras"] == [extra | {"windows": NORMAL["windows"]}]
    assert counts(send(catalog, exported)) == [0, 0, 1, 0]
    catalog.put("Changed", **{name: value for name, value in record.items() if name != "title"})
    assert counts(send(catalog, exported)) == [0, 1, 0, 0]
    assert [catalog.get(f"{path}/episodes").json, catalog.get(path).json] == before
    assert [item["availability"]["reason"] for item in before[0]["items"]] == [
        None, "not_available_in_country",
    ]  # fmt: skip
    abroad = catalog.get(f"{path}/episodes", country="DE", locale="pt-BR").json["items"][0]
    assert (abroad["title"], abroad["availability"]["playable"]) == ("Piloto", True)
    _, roku, *others = catalog.get("/v1/admin/catalog-exports/roku").json["assets"]
    assert (roku["id"], roku["titles"]) == ("x:1:1:1", [{"value": "Piloto", "languages": ["pt-BR"]}])
    assert not others, "an episode that is nowhere is left out"


BROKEN = [
    (series({"age_rating": "US:NOPE"}), "seasons[0].episodes[0].age_rating", "unknown_rating"),
    (series({}, {"windows": [{"countries": ["XX"]}]}), "seasons[0].episodes[1].windows[0].countries",
     "unknown_country"),
    (series({"windows": [{"starts_at": "2026-02-01T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}]}),
     "seasons[0].episodes[0].windows[0].ends_at", "out_of_range"),
    (series({}, windows=[{"ends_at": "9999-12-31T23:59:59-23:59"}]), "seasons[0].windows[0].ends_at", "out_of_range"),
    (series({"localizations": {"not a tag": {"title": "A"}}}), "seasons[0].episodes[0].localizations.not a tag",
     "unknown_language"),
    (series({"localizations": {"fr": {"title": "a\0"}}}), "", "control_character"),
    (series({"tracks": [{"kind": "smell", "language": "en"}]}), "seasons[0].episodes[0].tracks[0].kind", "invalid"),
    (series({"plans": [""]}), "seasons[0].episodes[0].plans[0]", "out_of_range"),
    (series({"external_ids": {"imdb": " "}}), "seasons[0].episodes[0].external_ids", "invalid"),
    (series({"colour": 1}), "seasons[0].episodes[0].colour", "unknown_field"),
    ({"extras": [EXTRA, EXTRA | {"title": "Other"}]}, "extras", "duplicate"),
    ({"extras": [EXTRA | {"age_rating": "18"}]}, "extras[0].age_rating", "unknown_rating"),
    ({"extras": [EXTRA | {"media": {"hls": "https://a.example/../b.m3u8"}}]}, "extras[0].media.hls", "invalid"),
    ({"extras": [EXTRA | {"plans": ["basic"]}]}, "extras[0].plans", "unknown_field"),
    ({"extras": [EXTRA | {"windows": [{"starts_at": "soon"}]}]}, "extras[0].windows[0].starts_at", "invalid"),
]  # fmt: skip


def test_an_invalid_part_rejects_its_title_by_field(catalog):
    lines = [SERIES | {"external_id": f"x:{number}"} | part for number, (part, *_) in enumerate(BROKEN, 1)]
    result = send(catalog, ndjson(*lines, SERIES | {"external_id": "good"}))
    assert counts(result) == [1, 0, 0, len(BROKEN)]
    rejected = {number: (field, code) for number, field, code in rejections(catalog, result)}
    assert rejected == {number: (field, code) for number, (_, field, code) in enumerate(BROKEN, 1)}


def test_a_partial_record_keeps_what_it_does_not_name_of_each_part():
    texts, bonus = {"fr": {"title": "Un"}, "de": {"title": "Eins"}}, {"kind": "bonus", "title": "B"}
    own = {"windows": [], "plans": ["basic"], "localizations": {"fr": texts["fr"]}, "external_ids": {"imdb": "tt2"}}
    existing = SERIES | series(own, {}, windows=[]) | {"extras": [EXTRA, bonus | {"media": {"hls": "/b"}}]}
    part = series({"title": "One", "localizations": {"de": texts["de"]}})
    part["extras"] = [bonus | {"runtime_s": 9}, {"kind": "clip", "title": "New", "external_id": "t:1"}]
    merged = merge_partial_record(existing, part)
    assert merged["seasons"] == series(own | {"title": "One", "localizations": texts}, windows=[])["seasons"]
    assert merged["extras"] == [
        bonus | {"media": {"hls": "/b"}, "runtime_s": 9},
        EXTRA | {"kind": "clip", "title": "New"},
    ]


def test_a_patch_replaces_the_extras_and_keeps_their_ids(catalog):
    title = catalog.put("Film", external_id="x:2", extras=[EXTRA, EXTRA | {"external_id": "t:2"}])
    first = catalog.get(f"/v1/catalog/titles/{title}").json["extras"]
    change = {"extras": [EXTRA | {"external_id": "t:2", "title": "Renamed", "windows": []}]}
    patched = catalog.client.patch("/v1/admin/titles/x:2", json=change, headers={"If-Match": "*"})
    assert (patched.status_code, patched.json["extras"]) == (200, change["extras"])
    [extra] = catalog.get(f"/v1/catalog/titles/{title}").json["extras"]
    assert (extra["id"], extra["title"]) == (first[1]["id"], "Renamed")
    assert extra["availability"]["reason"] == "not_available_in_country"


@pytest.mark.every_database
def test_coverage_reports_episodes_and_extras(app, catalog):
    now = app.extensions["clock"].at

    def window(days):
        return [{"ends_at": (now + timedelta(days=days)).isoformat()}]

    media = {"media": {"hls": "https://m.example/a/1.m3u8"}}
    windows = ([], window(13), window(15), window(-1), [*window(13), {}])
    episodes = [media, {}, {"released_on": "2026-03-01"}, *(media | {"windows": own} for own in windows)]
    bare = EXTRA | {"external_id": "t:2", "title": "Bare"}
    trailer = EXTRA | {"media": {"hls": "https://m.example/trailer/1.m3u8"}}
    show = catalog.put("Serial", external_id="x:1", kind="series", extras=[trailer, bare], **series(*episodes))
    catalog.put("Plain", external_id="x:2", kind="series", extras=[EXTRA], **series({}, {}))
    issues = {issue["code"]: issue for issue in catalog.get("/v1/admin/coverage").json["issues"]}
    found = {
        code: [(item["title"], item["part"]["number"]) for item in issue["items"]]
        for code, issue in issues.items()
        if code.startswith("episode")
    }
    assert found == {
        "episode_no_media": [("Serial", 2)],
        "episode_no_window": [("Serial", 4), ("Serial", 7)],
        "episode_ending_soon": [("Serial", 5)],
    }
    [item] = issues["extra_no_media"]["items"]
    assert (item["id"], item["part"]["title"], item["part"]["number"]) == (show, "Bare", None)
    pages = list(catalog.walk("/v1/admin/coverage/episode_no_window", limit=1))
    assert [page[0]["part"]["number"] for page in pages] == [4, 7]
    assert catalog.client.delete("/v1/admin/titles/x:1").status_code == 204
    issues = catalog.get("/v1/admin/coverage").json["issues"]
    assert not [issue for issue in issues if issue["count"] and issue["code"].startswith(("episode", "extra"))]
