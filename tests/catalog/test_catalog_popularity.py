"""Plays raise titles in lists and searches for four weeks."""

import pytest

from streamsvc.operations.catalog.titles.popularity import update_popularity
from streamsvc.storage.database import db
from tests.worlds.catalog_world import Catalog


@pytest.fixture
def catalog(app):
    return Catalog(app)


def count(app):
    with app.app_context():
        update_popularity({}, app.extensions["clock"]())
        db.session.commit()


def play(viewer, title):
    response = viewer.client.post("/v1/playback", json={"item_id": title})
    assert response.status_code == 201, response.json
    assert viewer.client.delete(f"/v1/playback/{response.json['stream_id']}").status_code == 204


def test_recent_plays_raise_a_title_and_old_plays_stop_counting(app, catalog):
    catalog.put("Film rated", genres=["drama"], popularity=15)
    title = catalog.put("Film played", genres=["drama"])
    catalog.put("Film left", genres=["drama"])
    for _ in range(2):
        viewer = catalog.viewer()
        catalog.subscribe(viewer, "basic")
        play(viewer, title)
        play(viewer, title)
    before = ["Film rated", "Film left", "Film played"]
    assert catalog.search("film") == catalog.titles(sort="-popularity") == before
    count(app)
    after = ["Film played", "Film rated", "Film left"]
    assert catalog.search("film") == catalog.titles(sort="-popularity") == after
    assert catalog.titles(sort="-popularity", genre="drama") == after
    catalog.put("Film played", genres=["drama"], year=2000)
    assert catalog.search("film") == after
    version = catalog.get("/v1/catalog/titles").headers["ETag"]
    count(app)
    assert catalog.get("/v1/catalog/titles").headers["ETag"] == version
    app.extensions["clock"].advance(days=29)
    count(app)
    assert catalog.search("film") == catalog.titles(sort="-popularity", genre="drama") == before


def test_plays_of_a_removed_title_are_ignored(app, catalog):
    title = catalog.put("Film")
    viewer = catalog.viewer()
    catalog.subscribe(viewer, "basic")
    play(viewer, title)
    catalog.client.delete("/v1/admin/titles/test:Film")
    count(app)
    app.extensions["clock"].advance(days=1)
    catalog.put("Film")
    assert catalog.titles() == ["Film"]
