"""Restored scenes: a test that begins with one cannot tell it from the requests that built it."""

from datetime import timedelta

import pytest

from streamsvc.storage.database import db
from tests.conftest import NOON, delete_all_rows
from tests.worlds.playback_steps import CARTOON, FILM, SHOW, Watcher, World
from tests.worlds.scenes import set_scene
from tests.worlds.sessions_steps import everything


def build_world(app):
    world = World(app)
    world.put_titles(FILM, SHOW)
    world.clock.advance(hours=1)
    world.ann = Watcher(world)
    world.ann.watch("show/1/1")
    return world


@pytest.fixture
def begin(app):
    """Begin a test, as the fixture `app` does, with the scene."""

    def begin_test():
        with app.app_context():
            delete_all_rows(db.engine)
        app.extensions["clock"].at = NOON
        return set_scene(app, build_world)

    return begin_test


def test_a_restored_scene_has_the_rows_and_the_time_and_goes_on_like_the_first(app, begin):
    first, stored = begin(), everything(app)
    first.ann.report("film", 600)
    first.ids["other"] = "of the first test only"
    restored = begin()
    assert sorted(everything(app).splitlines()) == sorted(stored.splitlines())
    assert restored.clock.at == NOON + timedelta(hours=1, minutes=1)
    assert "other" not in restored.ids and restored.ann.viewer.token == first.ann.viewer.token
    assert restored.ann.row("next-up") == ["show/1/2"]
    assert restored.ann.row("continue-watching") == []
    restored.put_titles(CARTOON)
    assert len(set(restored.ids.values())) == len(restored.ids)
    found = restored.operator.get("/v1/catalog/search?q=a").json["items"]
    assert {hit["title"] for hit in found} == {"A Film", "A Show", "A Cartoon"}
    assert restored.household(plan=restored.put_plan("other")).play("cartoon").status_code == 201


def test_what_an_earlier_test_read_is_not_served_to_a_later_one(begin):
    for title in ("Changed", "Changed otherwise"):
        world = begin()
        path = f"/v1/catalog/titles/{world.ids['film']}"
        assert world.ann.viewer.get(path).json["title"] == "A Film"
        world.put_titles(FILM | {"title": title})
        assert world.ann.viewer.get(path).json["title"] == title
