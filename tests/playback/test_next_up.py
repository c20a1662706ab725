"""What to watch next, and what a viewer removes from the rows or marks as watched."""

from datetime import timedelta

import pytest

from tests.conftest import NOON
from tests.worlds.playback_steps import CARTOON, EPISODES, FILM, SHOW, Watcher, World, error_of
from tests.worlds.scenes import set_scene


def build_world(app, with_ann):
    world = World(app)
    world.put_titles(FILM, CARTOON, SHOW)
    world.ann = Watcher(world) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "ann" in request.fixturenames)


@pytest.fixture
def ann(world):
    return world.ann


@pytest.fixture
def with_setting(app, monkeypatch):
    def change(**values):
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**values))

    return change


def put_show(world, *release_days):
    """Put the show with one season, whose episodes are released so many days after the start of the test."""
    episodes = [
        {"number": n, "title": f"Episode {n}", "runtime_s": 3000, "released_on": str((NOON + timedelta(days=d)).date())}
        for n, d in enumerate(release_days, 1)
    ]
    world.put_titles(SHOW | {"seasons": [{"number": 1, "episodes": episodes}]})


def later(ann, days):
    ann.world.clock.advance(days=days)
    ann.viewer = ann.viewer.on_another_device()


def test_a_series_that_paused_for_years_comes_back_with_its_new_episode(ann, world):
    put_show(world, -30, 700, 707)
    ann.watch("show/1/1", "film")
    for days, row in ((699, []), (1, ["show/1/2"]), (7, ["show/1/2"]), (357, ["show/1/2"]), (1, [])):
        later(ann, days)
        assert ann.row("next-up") == row, days


def test_a_series_left_in_the_middle_does_not_come_back_with_a_new_season(ann, world):
    put_show(world, -30, -20, 700)
    ann.watch("show/1/1")
    later(ann, 701)
    assert ann.row("next-up") == []


def test_a_new_episode_brings_its_series_to_the_front(ann, world):
    other = {"external_id": "other", "title": "Other", "seasons": [{"number": 1, "episodes": EPISODES}]}
    put_show(world, -30, 5)
    world.put_titles(SHOW | other)
    ann.watch("show/1/1", "other/1/1")
    assert ann.row("next-up") == ["other/1/2"]
    later(ann, 6)
    assert ann.row("next-up") == ["show/1/2", "other/1/2"]
    page = ann.viewer.get(ann.path("next-up?limit=1")).json
    rest = ann.viewer.get(ann.path(f"next-up?limit=1&cursor={page['next_cursor']}")).json
    shown = [item["item_id"] for item in page["items"] + rest["items"]]
    assert shown == [world.ids["show/1/2"], world.ids["other/1/2"]]


def rewatch(ann, *items, restart_only=False):
    for item in items:
        ann.world.clock.advance(hours=1)
        assert ann.report(item, 100, 3000, restart=True).status_code == 200
        if not restart_only:
            ann.watch(item)


def test_watching_again_offers_the_next_episode_again(ann):
    everything = [f"show/{season}/{number}" for season in (1, 2) for number in (1, 2, 3)]
    ann.watch(*everything)
    assert ann.row("next-up") == []
    for _ in range(2):
        rewatch(ann, "show/1/1")
        assert ann.row("next-up") == ["show/1/2"]
        rewatch(ann, "show/1/2", "show/1/3")
        assert ann.row("next-up") == ["show/2/1"]
        rewatch(ann, *everything[3:])
        assert ann.row("next-up") == []


def test_watching_again_works_with_streams_and_goes_on_with_a_new_episode(ann, world):
    def stream(item):
        started = ann.viewer.play(item).json["stream_id"]
        for position_s in (30, 2900):
            world.clock.advance(seconds=60)
            ann.viewer.send_heartbeat(started, position_s)
        ann.viewer.send_heartbeat(started, 2950, "ended")

    put_show(world, -30, -20, 10)
    stream("show/1/1"), stream("show/1/2"), stream("show/1/1")
    assert ann.row("next-up") == ["show/1/2"]
    stream("show/1/2")
    later(ann, 11)
    assert ann.row("next-up") == ["show/1/3"]


def test_watching_again_in_one_report_goes_on_with_the_next_episode(ann, clock):
    ann.watch("show/1/1", "show/1/2")
    clock.advance(hours=1)
    ann.report("show/1/1", 3000, 3000, restart=True)
    assert ann.row("next-up") == ["show/1/2"]


def test_what_was_watched_up_to_the_moment_of_a_restart_is_watched_again(ann, clock):
    ann.watch("show/1/1")
    clock.advance(hours=1)
    ann.report("show/1/2", 3000, 3000)
    ann.report("show/1/1", 100, 3000, restart=True)
    ann.watch("show/1/1")
    assert ann.row("next-up") == ["show/1/2"]


def test_a_first_report_that_says_restart_watches_nothing_again(ann):
    ann.watch("show/1/2")
    ann.world.clock.advance(hours=1)
    ann.report("show/1/1", 3000, 3000, restart=True)
    assert ann.row("next-up") == ["show/1/3"]


def test_an_episode_that_was_hardly_begun_is_next(ann, clock):
    ann.watch("show/1/1")
    clock.advance(minutes=1)
    ann.report("show/1/2", 10, 3000)
    assert ann.row("next-up") == ["show/1/2"]


def test_other_profiles_and_other_series_change_nothing(ann, world, clock):
    world.put_titles(
        SHOW | {"external_id": "other", "title": "Other", "seasons": [{"number": 1, "episodes": EPISODES}]}
    )
    sibling = ann.sibling()
    ann.watch("show/1/1")
    sibling.watch("show/1/2")
    sibling.report("show/1/3", 600, 3000)
    ann.report("other/1/1", 600, 3000)
    assert (ann.row("next-up"), ann.row("continue-watching")) == (["show/1/2"], ["other/1/1"])
    clock.advance(minutes=1)
    ann.report("show/1/2", 600, 3000)
    clock.advance(minutes=1)
    ann.report("other/1/2", 600, 3000)
    sibling.report("show/1/3", 700, 3000)
    assert (ann.row("next-up"), ann.row("continue-watching")) == ([], ["other/1/2", "show/1/2"])
    assert ann.viewer.delete(ann.path("continue-watching", world.ids["show/1/2"])).status_code == 204
    assert ann.row("continue-watching") == ["other/1/2"]
    assert ann.viewer.put(ann.path("watched", world.ids["other"])).status_code == 204
    assert watched(ann, "other/1/3", "show/1/3") == [True, False]


def test_an_episode_opened_again_for_a_moment_is_not_watched_again(ann):
    ann.watch("show/1/1", "show/1/2")
    ann.world.clock.advance(hours=1)
    ann.report("show/1/1", 5, 3000, restart=True)
    assert ann.row("next-up") == ["show/1/3"]


@pytest.mark.parametrize(("policy", "row"), [("skip", []), ("last", ["show/0/1"])])
def test_specials_follow_the_last_season_if_the_operator_wants_them(ann, with_setting, policy, row):
    with_setting(next_up_specials=policy)
    ann.watch("show/2/2")
    assert ann.row("next-up") == ["show/2/3"]
    ann.watch("show/2/3")
    assert ann.row("next-up") == row
    ann.watch("show/0/1")
    assert ann.row("next-up") == []


@pytest.mark.parametrize("named", ["show", "show/1/1", "show/1/2"])
def test_a_series_can_be_removed_from_next_up_until_it_is_played_again(ann, world, named):
    ann.watch("show/1/1")
    assert ann.viewer.delete(ann.path("next-up", world.ids[named])).status_code == 204
    assert (ann.row("next-up"), ann.row("continue-watching")) == ([], [])
    ann.watch("show/1/2")
    assert ann.row("next-up") == ["show/1/3"]


@pytest.mark.parametrize("named", ["show", "show/1/1", "show/1/3"])
def test_hiding_a_series_hides_it_from_both_rows(ann, world, clock, named):
    ann.watch("show/1/1")
    for item in ("film", "show/1/2", "show/1/3"):
        clock.advance(minutes=1)
        ann.report(item, 600, 3000)
    assert ann.row("continue-watching") == ["show/1/3", "film"]
    assert ann.viewer.delete(ann.path("continue-watching", world.ids[named])).status_code == 204
    assert (ann.row("continue-watching"), ann.row("next-up")) == (["film"], [])
    clock.advance(minutes=1)
    ann.report("show/1/2", 700, 3000)
    assert (ann.row("continue-watching"), ann.row("next-up")) == (["show/1/2", "film"], [])


def test_a_hidden_half_watched_episode_does_not_block_the_series_for_good(ann, world, clock):
    ann.report("show/1/1", 600, 3000)
    ann.viewer.delete(ann.path("continue-watching", world.ids["show"]))
    clock.advance(minutes=1)
    ann.watch("show/1/2")
    assert ann.row("next-up") == ["show/1/3"]


def test_an_episode_left_long_ago_does_not_block_its_series(ann):
    ann.report("show/1/1", 600, 3000)
    later(ann, 300)
    ann.watch("show/1/2")
    assert (ann.row("continue-watching"), ann.row("next-up")) == (["show/1/1"], [])
    later(ann, 65)
    assert (ann.row("continue-watching"), ann.row("next-up")) == ([], ["show/1/3"])


def test_a_series_can_be_forgotten(ann, world):
    ann.watch("show/1/1", "show/1/2", "film")
    assert ann.viewer.delete(ann.path("history", world.ids["show"])).status_code == 204
    assert (ann.row("history"), ann.row("next-up")) == (["film"], [])


def watched(ann, *items):
    ids = ",".join(ann.world.ids[item] for item in items)
    states = ann.viewer.get(ann.path(f"state?ids={ids}")).json["items"]
    return [bool(state["progress"] and state["progress"]["finished"]) for state in states]


def test_a_series_can_be_marked_as_watched_and_as_not_watched(ann, world, clock):
    put_show(world, -30, -20, 10)
    ann.report("show/1/2", 600, 3000)
    clock.advance(minutes=1)
    assert ann.viewer.put(ann.path("watched", world.ids["show"])).status_code == 204
    assert watched(ann, "show/1/1", "show/1/2", "show/1/3") == [True, True, False]
    assert (ann.row("continue-watching"), ann.row("next-up")) == ([], [])
    assert ann.row("history") == ["show/1/2"]  # the other was not played
    later(ann, 10)
    assert ann.row("next-up") == ["show/1/3"]
    assert ann.viewer.delete(ann.path("watched", world.ids["show"])).status_code == 204
    assert watched(ann, "show/1/1", "show/1/2") == [False, False]
    assert (ann.row("continue-watching"), ann.row("next-up"), ann.row("history")) == ([], [], [])


def test_marking_a_series_leaves_what_the_profile_cannot_see_or_is_removed(ann, world):
    adult = EPISODES[2] | {"age_rating": "US:TV-MA"}
    world.put_titles(SHOW | {"seasons": [{"number": 1, "episodes": [EPISODES[0], adult]}]})
    assert ann.viewer.patch(ann.path(), {"max_age": 14}).status_code == 200
    assert ann.viewer.put(ann.path("watched", world.ids["show"])).status_code == 204
    world.put_titles(SHOW | {"seasons": [{"number": 1, "episodes": [*EPISODES[:2], adult]}]})
    assert ann.viewer.patch(ann.path(), {"max_age": None}).status_code == 200
    assert watched(ann, "show/1/1", "show/1/2", "show/1/3") == [True, False, False]


def test_marking_an_episode_or_a_film_leaves_the_others(ann, world):
    ann.watch("show/2/1")
    for item in ("show/1/1", "film"):
        assert ann.viewer.put(ann.path("watched", world.ids[item])).status_code == 204
    assert watched(ann, "show/1/1", "film", "show/1/2", "cartoon") == [True, True, False, False]
    ann.viewer.delete(ann.path("watched", world.ids["film"]))
    assert watched(ann, "show/1/1", "film", "show/2/1") == [True, False, True]


def test_a_late_report_leaves_a_marked_film_finished(ann, world, clock):
    ann.report("film", 600)
    ann.viewer.put(ann.path("watched", world.ids["film"]))
    clock.advance(minutes=10)
    assert ann.report("film", 1200, at=NOON + timedelta(minutes=5)).json["finished"]


def test_only_what_the_profile_may_see_can_be_marked(ann, world):
    assert ann.viewer.patch(f"/v1/profiles/{ann.profile_id}", {"max_age": 6}).status_code == 200
    for item in (world.ids["film"], world.ids["show"], "ttl_unknown", "epi_unknown"):
        assert error_of(ann.viewer.put(ann.path("watched", item))) == (404, "not_found")
    assert ann.viewer.put(ann.path("watched", world.ids["cartoon"])).status_code == 204


def test_an_episode_does_not_play_before_its_day(ann, world):
    put_show(world, 0, 1)
    body = {"account_id": ann.viewer.account_id, "item_id": world.ids["show/1/2"]}

    def outcome():
        page = ann.viewer.get(f"/v1/catalog/episodes/{body['item_id']}").json["availability"]
        explained = world.operator.post("/v1/admin/explain", body).json["code"]
        played = ann.viewer.play("show/1/2")
        return played.status_code, played.json.get("code"), page["reason"], explained

    assert ann.viewer.play("show/1/1").status_code == 201
    assert outcome() == (403, "not_yet_available", "not_yet_available", "not_yet_available")
    availability = ann.viewer.get(f"/v1/catalog/episodes/{body['item_id']}").json["availability"]
    assert availability["starts_at"] == "2026-01-16T00:00:00Z"
    world.clock.advance(hours=12)
    assert outcome() == (201, None, None, None)


def test_the_thresholds_are_settings(ann, with_setting):
    with_setting(watched_percent=95, resume_after_s=120, resume_after_percent=20, continue_watching_days=10)
    ann.report("film", 110)
    assert ann.row("continue-watching") == []
    ann.world.clock.advance(minutes=1)
    assert ann.report("film", 120).json["resume_s"] == 120
    assert not ann.report("cartoon", 5600, 6000).json["watched"]
    assert sorted(ann.row("continue-watching")) == ["cartoon", "film"]
    assert ann.report("cartoon", 5700, 6000).json["watched"]
    later(ann, 10)
    assert ann.row("continue-watching") == []


def test_a_home_page_that_was_kept_follows_the_progress_and_the_days(ann, world, with_setting):
    def personal_rows():
        kinds = ("continue", "next_up")
        rows = {row["kind"]: row["items"] for row in ann.viewer.get("/v1/catalog/home").json["items"]}
        return {kind: [names[item["item_id"]] for item in rows[kind]] for kind in kinds if kind in rows}

    put_show(world, -30, 5)
    names = {id_: external_id for external_id, id_ in world.ids.items()}
    assert personal_rows() == personal_rows() == {}
    ann.watch("show/1/1")
    assert personal_rows() == personal_rows() == {}, "the next episode is not released yet"
    ann.report("film", 3000)
    assert personal_rows() == personal_rows() == {"continue": ["film"]}
    ann.viewer.patch("/v1/sessions/current", {"profile_id": ann.sibling().profile_id})
    assert personal_rows() == personal_rows() == {}, "another profile has its own"
    ann.viewer.patch("/v1/sessions/current", {"profile_id": ann.profile_id})
    world.clock.advance(days=5)
    assert personal_rows() == personal_rows() == {"continue": ["film"], "next_up": ["show/1/2"]}
    ann.viewer.delete(ann.path("continue-watching", world.ids["film"]))
    assert personal_rows() == {"next_up": ["show/1/2"]}
    with_setting(continue_watching_days=6)
    world.clock.advance(minutes=1)
    ann.report("film", 3100)
    world.clock.advance(days=6, minutes=-1)
    assert personal_rows() == {"continue": ["film"]}
    world.clock.advance(minutes=1)
    assert personal_rows() == {}, "six days ago"
    put_show(world, -30, -20)
    episode = {"number": 2, "title": "Two", "windows": [{"starts_at": "2026-02-01T12:00:00Z"}]}
    world.put_titles(SHOW | {"seasons": [{"number": 1, "episodes": [EPISODES[0], episode]}]})
    for minutes, rows in ((-1, {"next_up": ["show/1/2"]}), (0, {})):
        world.clock.at = NOON + timedelta(days=23, minutes=minutes)
        assert personal_rows() == rows, "its window opened six days ago"
    ann.watch("show/1/1")
    for minutes, rows in ((-1, {"next_up": ["show/1/2"]}), (0, {})):
        world.clock.at = NOON + timedelta(days=29, minutes=1 + minutes)
        assert personal_rows() == rows, "watched six days ago"
