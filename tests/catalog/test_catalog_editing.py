"""Operators edit titles, collections and the home page without overwriting unread changes."""

import pytest

from tests.worlds.catalog_world import Catalog

TITLE = "/v1/admin/titles/x:1"


@pytest.fixture
def catalog(app):
    return Catalog(app)


@pytest.fixture
def film(catalog):
    catalog.put("Film", external_id="x:1", year=1994, localizations={"fr": {"title": "Le film"}, "de": {"title": "F"}})
    return catalog


def test_a_record_read_by_either_id_can_be_put_back_unchanged(film):
    shown = film.get(TITLE)
    assert shown.json["external_id"] == "x:1"
    assert film.get(f"/v1/admin/titles/{shown.json['id']}").data == shown.data
    again = film.client.put(TITLE, json=shown.json, headers={"If-Match": shown.headers["ETag"]})
    assert (again.status_code, again.headers["ETag"]) == (200, shown.headers["ETag"])
    assert film.client.put(TITLE, json={**shown.json, "id": "ttl_other"}).json["errors"].keys() == {"id"}
    unread = film.client.get(TITLE, headers={"If-None-Match": shown.headers["ETag"]})
    assert unread.status_code == 304


def test_a_patch_changes_named_members_and_null_removes_them(film):
    etag = film.get(TITLE).headers["ETag"]
    change = {"year": None, "runtime_s": 5400, "localizations": {"fr": None, "es": {"title": "Cine"}}}
    changed = film.client.patch(TITLE, json=change, headers={"If-Match": etag})
    assert changed.status_code == 200, changed.json
    assert changed.json | {"localizations": {"de": {"title": "F"}, "es": {"title": "Cine"}}} == changed.json
    assert (changed.json["runtime_s"], "year" in changed.json) == (5400, False)
    assert film.search("cine") == ["Film"]
    assert film.search("le film") != ["Le film"]
    assert changed.headers["ETag"] == film.get(TITLE).headers["ETag"] != etag


def test_a_patch_can_change_a_window(film):
    ann = film.viewer(country="DE")
    for windows, titles in (
        ([{"countries": ["US"]}], []),
        ([{"countries": ["DE"]}], ["Film"]),
        ([], []),
        (None, ["Film"]),
    ):
        etag = film.get(TITLE).headers["ETag"]
        assert film.client.patch(TITLE, json={"windows": windows}, headers={"If-Match": etag}).status_code == 200
        assert ann.titles() == titles


def test_a_version_changed_since_it_was_read_is_not_overwritten(film):
    etag = film.get(TITLE).headers["ETag"]
    assert film.client.patch(TITLE, json={"year": 1}).json["code"] == "precondition_required"
    film.put("Film", external_id="x:1", year=1995)
    for send in (film.client.patch, film.client.put, film.client.delete):
        refused = send(TITLE, json={"kind": "movie", "title": "Mine"}, headers={"If-Match": etag})
        assert (refused.status_code, refused.json["code"]) == (412, "precondition_failed")
    assert film.get(TITLE).json["year"] == 1995
    new = film.client.put(TITLE, json={"kind": "movie", "title": "New"}, headers={"If-None-Match": "*"})
    assert new.status_code == 412
    assert film.client.patch(TITLE, json={"year": 1996}, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize("change", [{"external_id": "x:2"}, {"colour": 1}, {"title": None}, {"year": "soon"}])
def test_a_patch_that_makes_the_record_invalid_is_rejected_by_field(film, change):
    refused = film.client.patch(TITLE, json=change, headers={"If-Match": "*"})
    assert refused.status_code == 422
    assert set(refused.json["errors"]) == set(change)


def test_a_missing_title_cannot_be_patched(film):
    assert film.client.patch("/v1/admin/titles/x:none", json={}, headers={"If-Match": "*"}).status_code == 404
    assert (
        film.client.put(TITLE + "9", json={"kind": "movie", "title": "N"}, headers={"If-Match": "*"}).status_code == 412
    )


def test_a_collection_is_returned_as_defined(film):
    body = {"title": "Best", "localizations": {"fr": "Meilleurs"}, "items": ["x:1"]}
    film.client.put("/v1/admin/collections/another", json=body)
    put = film.client.put("/v1/admin/collections/best", json=body)
    shown = film.get("/v1/admin/collections/best")
    assert shown.json == {**body, "id": put.json["id"], "code": "best"}
    assert shown.headers["ETag"] == put.headers["ETag"]
    stale = {"If-Match": shown.headers["ETag"]}
    assert film.client.put("/v1/admin/collections/best", json={**body, "items": []}, headers=stale).status_code == 200
    assert film.client.put("/v1/admin/collections/best", json=body, headers=stale).status_code == 412
    assert film.client.delete("/v1/admin/collections/best", headers=stale).status_code == 412
    assert film.client.delete("/v1/admin/collections/best").status_code == 204
    assert film.get("/v1/admin/collections/best").status_code == 404
    assert film.get("/v1/admin/collections/another").json["items"] == ["x:1"]


@pytest.mark.every_database
def test_collections_and_their_titles_are_listed_in_order_though_nobody_may_watch_them(film):
    film.put("Hidden", external_id="x:2", windows=[])
    film.put("Gone", external_id="x:3")
    for code, items in (("best", ["x:2", "x:3", "x:1"]), ("all", ["x:1"]), ("none", [])):
        body = {"title": code.title(), "items": items}
        assert film.client.put(f"/v1/admin/collections/{code}", json=body).status_code == 200
    assert film.client.delete("/v1/admin/titles/x:3").status_code == 204

    first = film.get("/v1/admin/collections?limit=2&include_total=true").json
    rest = film.get(f"/v1/admin/collections?limit=2&cursor={first['next_cursor']}").json
    listed = [(each["code"], each["title"]) for each in first["items"] + rest["items"]]
    assert listed == [("all", "All"), ("best", "Best"), ("none", "None")] and first["total"] == 3

    titles = [
        {"external_id": "x:2", "title": "Hidden", "year": None},
        {"external_id": "x:1", "title": "Film", "year": 1994},
    ]
    path = "/v1/admin/collections/best/titles"
    assert film.get(path).json["items"] == titles
    first = film.get(f"{path}?limit=1").json
    assert first["items"] + film.get(f"{path}?cursor={first['next_cursor']}").json["items"] == titles
    assert film.get("/v1/admin/collections/none/titles").json["items"] == []
    assert film.get(f"/v1/admin/collections/none/titles?cursor={first['next_cursor']}").status_code == 422
    assert film.get("/v1/admin/collections/unknown/titles").status_code == 404


def test_the_home_page_is_returned_as_configured_and_can_be_reset(film):
    assert film.get("/v1/admin/home").json == {"items": []}
    rows = [{"kind": "new", "collection": None, "title": "Fresh", "localizations": {}}]
    etag = film.client.put("/v1/admin/home", json={"items": rows}).headers["ETag"]
    assert film.get("/v1/admin/home").json == {"items": rows}
    assert film.client.put("/v1/admin/home", json={"items": []}, headers={"If-Match": '"old"'}).status_code == 412
    assert film.get("/v1/admin/home").headers["ETag"] == etag
    assert film.client.delete("/v1/admin/home").status_code == 204
    assert film.get("/v1/admin/home").json == {"items": []}


def test_an_invalid_collection_code_is_rejected(catalog):
    refused = catalog.client.put("/v1/admin/collections/%40", json={"title": "Favourites", "items": []})
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["code"])
