"""Plays move titles up in lists and searches, and time takes them down again."""

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
    answer = viewer.client.post("/v1/playback", json={"item_id": title})
    assert answer.status_code == 201, answer.json
    assert viewer.client.delete(f"/v1/playback/{answer.json['stream_id']}").status_code == 204


def test_what_is_played_rises_and_what_was_played_long_ago_falls(app, catalog):
    catalog.put("Film told", genres=["drama"], popularity=15)
    title = catalog.put("Film played", genres=["drama"])
    catalog.put("Film left", genres=["drama"])
    for _ in range(2):
        viewer = catalog.viewer()
        catalog.subscribe(viewer, "basic")
        play(viewer, title)
        play(viewer, title)
    before = ["Film told", "Film left", "Film played"]
    assert catalog.found("film") == catalog.titles(sort="-popularity") == before
    count(app)
    after = ["Film played", "Film told", "Film left"]
    assert catalog.found("film") == catalog.titles(sort="-popularity") == after
    assert catalog.titles(sort="-popularity", genre="drama") == after
    catalog.put("Film played", genres=["drama"], year=2000)
    assert catalog.found("film") == after
    version = catalog.get("/v1/catalog/titles").headers["ETag"]
    count(app)
    assert catalog.get("/v1/catalog/titles").headers["ETag"] == version
    app.extensions["clock"].advance(days=29)
    count(app)
    assert catalog.found("film") == catalog.titles(sort="-popularity", genre="drama") == before


def test_a_play_of_a_title_that_is_gone_breaks_nothing(app, catalog):
    title = catalog.put("Film")
    viewer = catalog.viewer()
    catalog.subscribe(viewer, "basic")
    play(viewer, title)
    catalog.client.delete("/v1/admin/titles/test:Film")
    count(app)
    app.extensions["clock"].advance(days=1)
    catalog.put("Film")
    assert catalog.titles() == ["Film"]
