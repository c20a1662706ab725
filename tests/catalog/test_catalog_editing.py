"""Operators edit titles, collections and the home page, and never overwrite what they have not read."""

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


def test_a_title_is_read_in_the_files_form_by_either_id_and_put_back_unchanged(film):
    shown = film.get(TITLE)
    assert shown.json["external_id"] == "x:1"
    assert film.get(f"/v1/admin/titles/{shown.json['id']}").data == shown.data
    again = film.client.put(TITLE, json=shown.json, headers={"If-Match": shown.headers["ETag"]})
    assert (again.status_code, again.headers["ETag"]) == (200, shown.headers["ETag"])
    assert film.client.put(TITLE, json={**shown.json, "id": "ttl_other"}).json["errors"].keys() == {"id"}
    unread = film.client.get(TITLE, headers={"If-None-Match": shown.headers["ETag"]})
    assert unread.status_code == 304


def test_a_patch_changes_what_it_names_and_null_takes_out(film):
    etag = film.get(TITLE).headers["ETag"]
    change = {"year": None, "runtime_s": 5400, "localizations": {"fr": None, "es": {"title": "Cine"}}}
    changed = film.client.patch(TITLE, json=change, headers={"If-Match": etag})
    assert changed.status_code == 200, changed.json
    assert changed.json | {"localizations": {"de": {"title": "F"}, "es": {"title": "Cine"}}} == changed.json
    assert (changed.json["runtime_s"], "year" in changed.json) == (5400, False)
    assert film.found("cine") == ["Film"]
    assert film.found("le film") != ["Le film"]
    assert changed.headers["ETag"] == film.get(TITLE).headers["ETag"] != etag


def test_a_window_is_edited_by_a_patch(film):
    ann = film.viewer(country="DE")
    for windows, seen in (
        ([{"countries": ["US"]}], []),
        ([{"countries": ["DE"]}], ["Film"]),
        ([], []),
        (None, ["Film"]),
    ):
        etag = film.get(TITLE).headers["ETag"]
        assert film.client.patch(TITLE, json={"windows": windows}, headers={"If-Match": etag}).status_code == 200
        assert ann.titles() == seen


def test_what_changed_since_it_was_read_is_not_overwritten(film):
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
def test_a_patch_that_makes_no_record_is_refused_by_field(film, change):
    refused = film.client.patch(TITLE, json=change, headers={"If-Match": "*"})
    assert refused.status_code == 422
    assert set(refused.json["errors"]) == set(change)


def test_a_title_that_is_not_there_cannot_be_patched(film):
    assert film.client.patch("/v1/admin/titles/x:none", json={}, headers={"If-Match": "*"}).status_code == 404
    assert (
        film.client.put(TITLE + "9", json={"kind": "movie", "title": "N"}, headers={"If-Match": "*"}).status_code == 412
    )


def test_a_collection_is_read_as_it_was_put(film):
    given = {"title": "Best", "localizations": {"fr": "Meilleurs"}, "items": ["x:1"]}
    put = film.client.put("/v1/admin/collections/best", json=given)
    shown = film.get("/v1/admin/collections/best")
    assert shown.json == {**given, "id": put.json["id"], "code": "best"}
    assert shown.headers["ETag"] == put.headers["ETag"]
    stale = {"If-Match": shown.headers["ETag"]}
    assert film.client.put("/v1/admin/collections/best", json={**given, "items": []}, headers=stale).status_code == 200
    assert film.client.put("/v1/admin/collections/best", json=given, headers=stale).status_code == 412
    assert film.client.delete("/v1/admin/collections/best", headers=stale).status_code == 412
    assert film.client.delete("/v1/admin/collections/best").status_code == 204
    assert film.get("/v1/admin/collections/best").status_code == 404


def test_the_home_page_is_read_as_it_was_put_and_dropped(film):
    assert film.get("/v1/admin/home").json == {"items": []}
    rows = [{"kind": "new", "collection": None, "title": "Fresh", "localizations": {}}]
    etag = film.client.put("/v1/admin/home", json={"items": rows}).headers["ETag"]
    assert film.get("/v1/admin/home").json == {"items": rows}
    assert film.client.put("/v1/admin/home", json={"items": []}, headers={"If-Match": '"old"'}).status_code == 412
    assert film.get("/v1/admin/home").headers["ETag"] == etag
    assert film.client.delete("/v1/admin/home").status_code == 204
    assert film.get("/v1/admin/home").json == {"items": []}


def test_a_collection_is_not_named_by_what_is_no_name(catalog):
    refused = catalog.client.put("/v1/admin/collections/%40", json={"title": "Favourites", "items": []})
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["code"])
