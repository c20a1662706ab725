"""Viewing progress, and the rows computed from it."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsvc.models import Play, Progress
from streamsvc.models.progress import save_play, save_progress
from streamsvc.operations.maintenance.housekeeping import purge_expired_data
from streamsvc.rules.playback import progress
from streamsvc.rules.playback.progress import PlayableItem, ProgressPolicy
from streamsvc.storage.database import db, fetch_all
from tests.conftest import NOON
from tests.worlds.playback_steps import CARTOON, EPISODES, FILM, SHOW, Watcher, World, error_of, new_account
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


def test_the_reported_position_is_the_resume_position(ann):
    stands = ann.report("film", 1800).json
    assert (stands["position_s"], stands["resume_s"], stands["watched"], stands["finished"]) == (
        1800,
        1800,
        False,
        False,
    )
    assert ann.viewer.play("film").json["resume_s"] == 1800


def test_a_late_report_never_rewinds(ann, clock):
    ann.report("film", 1800)
    late = ann.report("film", 60, at=clock() - timedelta(minutes=20))
    assert (late.status_code, late.json["position_s"]) == (200, 1800)


def test_a_newer_report_may_go_back(ann, clock):
    ann.report("film", 1800)
    assert ann.report("film", 60, at=clock() + timedelta(seconds=0)).json["position_s"] == 1800
    clock.advance(seconds=10)
    assert ann.report("film", 60).json["position_s"] == 60


def test_a_late_report_of_the_end_still_counts_as_watched(ann, clock):
    clock.advance(hours=1)
    ann.report("film", 600)
    late = ann.report("film", 5900, at=NOON).json
    assert (late["position_s"], late["watched"], late["finished"]) == (600, True, True)


def test_an_item_stays_finished_until_the_viewer_restarts_it(ann, clock):
    ann.report("film", 5900)
    clock.advance(hours=1)
    assert ann.report("film", 600).json["finished"]
    clock.advance(hours=1)
    again = ann.report("film", 300, restart=True).json
    assert (again["watched"], again["finished"], again["resume_s"]) == (True, False, 300)
    assert ann.row("continue-watching") == ["film"]


def test_a_late_report_of_an_earlier_restart_leaves_the_item_finished(ann, clock):
    clock.advance(hours=1)
    ann.report("film", 5900)
    clock.advance(hours=1)
    assert ann.report("film", 300, at=NOON, restart=True).json["finished"]


def test_playing_a_finished_film_restarts_it(ann, clock):
    ann.report("film", 5900)
    clock.advance(hours=1)
    stream = ann.viewer.play("film").json
    assert stream["resume_s"] == 0
    clock.advance(seconds=60)
    ann.viewer.send_heartbeat(stream["stream_id"], 60)
    assert ann.row("continue-watching") == ["film"]


def test_each_profile_resumes_where_it_was(ann):
    ann.report("film", 1800)
    sibling = ann.sibling()
    sibling.report("film", 600)
    for watcher, position_s in ((sibling, 600), (ann, 1800)):
        assert ann.viewer.patch("/v1/sessions/current", {"profile_id": watcher.profile_id}).status_code == 200
        assert ann.viewer.play("film").json["resume_s"] == position_s


def test_heartbeats_save_the_position(ann, clock):
    stream = ann.viewer.play("film").json
    clock.advance(seconds=60)
    ann.viewer.send_heartbeat(stream["stream_id"], 900)
    ann.viewer.delete(f"/v1/playback/{stream['stream_id']}")
    assert ann.viewer.play("film").json["resume_s"] == 900


def test_a_late_heartbeat_still_saves_the_position(ann, clock):
    stream = ann.viewer.play("film").json
    clock.advance(hours=8)
    late = ann.viewer.send_heartbeat(stream["stream_id"], 1200, at=NOON + timedelta(minutes=20))
    assert late.status_code == 410
    assert ann.viewer.play("film").json["resume_s"] == 1200


def test_a_player_whose_clock_runs_ahead_does_not_block_later_reports(ann, clock):
    ann.report("film", 1800, at=clock() + timedelta(days=9000))
    clock.advance(minutes=1)
    assert ann.report("film", 2400).json["position_s"] == 2400


def test_two_reports_from_a_clock_that_runs_ahead_keep_their_order(ann, clock):
    ann.report("film", 1800, at=clock() + timedelta(days=9000))
    clock.advance(minutes=1)
    assert ann.report("film", 60, at=clock() + timedelta(days=8999)).json["position_s"] == 1800
    again = ann.report("film", 1800, at=NOON + timedelta(days=9000))
    assert again.json["at"] == "2026-01-15T12:00:00Z", "a repetition changes nothing"


def test_a_batch_of_offline_reports_merges_in_any_order(ann, world, clock):
    def one(item, position_s, minutes):
        at = (NOON + timedelta(minutes=minutes)).isoformat()
        return {"item_id": world.ids.get(item, item), "position_s": position_s, "duration_s": 6000, "at": at}

    clock.advance(hours=1)
    pile = [
        one("film", 1200, 20),
        one("film", 600, 10),
        one("missing", 1, 1),
        one("show", 1, 1),
        one("cartoon", 300, 5),
    ]
    response = ann.viewer.post(ann.path("progress"), {"items": pile})
    assert [(o["applied"], o["reason"]) for o in response.json["items"]] == [
        (True, None),
        (False, None),
        (False, "not_found"),
        (False, "not_found"),
        (True, None),
    ]
    assert response.json["items"][1]["progress"]["position_s"] == 1200
    assert ann.row("continue-watching") == ["film", "cartoon"]


DEVICES = {
    "right": (timedelta(), True),
    "slow": (timedelta(hours=-3), True),
    "fast": (timedelta(days=365), True),
    "old app": (timedelta(), False),
    "old app, fast": (timedelta(minutes=20), False),
    "old app, a year ahead": (timedelta(days=365), False),
}
"""The error of each device's clock, and whether it says when it sends."""
REPORTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(DEVICES)),
        st.integers(0, 600),
        st.integers(0, 60).map(lambda n: 100 * n),
        st.sampled_from([None, 5400, 6000]),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.every_database
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=REPORTS, shuffle=st.randoms())
def test_the_order_and_repetition_of_reports_do_not_matter(app, reports, shuffle):
    film, now = PlayableItem("ttl_1", "ttl_1", runtime_s=6000), NOON + timedelta(days=1)

    def outcome(reports, profile_id):
        for device, minutes_ago, position_s, duration_s, again in reports:
            error, says_when = DEVICES[device]
            claimed_at = now + error - timedelta(minutes=minutes_ago)
            time = progress.date_report(claimed_at, now + error if says_when else None, device, now)
            restarted_at = time.at if again else None
            said = progress.normalize_report(film, position_s, duration_s, time, ProgressPolicy(), restarted_at)
            row = save_progress(profile_id, film, said, now)
            save_play(profile_id, film, device, said.at, said.watched_at)
        plays = sa.select(Play.id, Play.started_at, Play.completed_at).where(Play.profile_id == profile_id)
        return tuple(row)[2:], fetch_all(plays.order_by(Play.id))

    with app.app_context():
        _, (one, other) = new_account(NOON, profiles=2)
        mixed = [*reports, *shuffle.choices(reports, k=3)]
        shuffle.shuffle(mixed)
        assert outcome(reports, one) == outcome(mixed, other)
        db.session.remove()


def test_a_few_seconds_do_not_count_as_started(ann):
    ann.report("film", 20)
    assert ann.row("continue-watching") == []
    assert ann.row("history") == ["film"]


@pytest.mark.parametrize(
    ("position_s", "runtime_s"), [(29, 6000), (30, 6000), (9, 200), (10, 200), (29, 600), (30, 600)]
)
def test_an_item_is_continued_once_it_counts_as_started(ann, world, position_s, runtime_s):
    """Exactly as the rule says: the row applies it in SQL."""
    world.put_titles(FILM | {"runtime_s": runtime_s})
    ann.report("film", position_s, runtime_s)
    assert ann.row("continue-watching") == ["film"] * progress.is_started(position_s, runtime_s, ProgressPolicy())


def test_continue_watching_shows_the_latest_first_with_its_card(ann, clock):
    ann.report("film", 600)
    clock.advance(minutes=1)
    ann.report("show/1/2", 600, 3000)
    [first, second] = ann.viewer.get(ann.path("continue-watching")).json["items"]
    assert (first["title"]["title"], first["episode"]["season"], first["episode"]["number"]) == ("A Show", 1, 2)
    assert (second["title"]["title"], second["episode"]) == ("A Film", None)
    assert second["progress"]["resume_s"] == 600


def test_a_series_is_continued_with_one_episode(ann, clock):
    for episode in ("show/1/3", "show/1/1"):
        clock.advance(minutes=1)
        ann.report(episode, 600, 3000)
    assert ann.row("continue-watching") == ["show/1/1"]


def test_a_hidden_item_returns_when_it_is_played_again(ann, world, clock):
    ann.report("film", 600)
    assert ann.viewer.delete(ann.path("continue-watching", world.ids["film"])).status_code == 204
    assert ann.row("continue-watching") == []
    assert ann.viewer.play("film").json["resume_s"] == 600
    clock.advance(minutes=1)
    ann.report("film", 700)
    assert ann.row("continue-watching") == ["film"]


def test_items_inactive_for_a_year_are_omitted(ann, clock):
    ann.report("film", 600)
    for days, row in ((364, ["film"]), (1, [])):
        clock.advance(days=days)
        ann.viewer = ann.viewer.on_another_device()
        assert ann.row("continue-watching") == row


def test_next_up_is_the_episode_after_the_one_watched_last(ann):
    ann.watch("show/1/1")
    assert ann.row("next-up") == ["show/1/2"]
    ann.watch("show/1/2", "show/1/3")
    assert ann.row("next-up") == ["show/2/1"]
    ann.watch("show/2/1", "show/2/2", "show/2/3")
    assert ann.row("next-up") == []


def test_a_series_not_watched_for_a_year_has_no_next_episode(ann, clock):
    ann.watch("show/1/1")
    for days, row in ((364, ["show/1/2"]), (1, [])):
        clock.advance(days=days)
        ann.viewer = ann.viewer.on_another_device()
        assert ann.row("next-up") == row


def test_next_up_omits_episodes_watched_before(ann):
    ann.watch("show/1/2", "show/1/1")
    assert ann.row("next-up") == ["show/1/3"]


def test_specials_are_ignored_by_next_up(ann):
    ann.watch("show/0/1")
    assert ann.row("next-up") == []


def test_a_series_with_an_unfinished_episode_is_continued_not_next(ann, clock):
    ann.watch("show/1/1")
    clock.advance(minutes=1)
    ann.report("show/1/2", 600, 3000)
    assert (ann.row("continue-watching"), ann.row("next-up")) == (["show/1/2"], [])


def test_a_removed_episode_does_not_lose_the_position_in_its_series(ann, world):
    ann.watch("show/1/2")
    world.put_titles(SHOW | {"seasons": [{"number": 1, "episodes": [EPISODES[0], EPISODES[2]]}]})
    assert ann.row("next-up") == ["show/1/3"]


def test_an_unreleased_episode_is_not_next(ann, world):
    later = [EPISODES[0], EPISODES[1] | {"released_on": "2026-02-01"}]
    world.put_titles(SHOW | {"seasons": [{"number": 1, "episodes": later}]})
    ann.watch("show/1/1")
    assert ann.row("next-up") == []
    for days, row in ((16, []), (1, ["show/1/2"])):
        world.clock.advance(days=days)
        assert ann.row("next-up") == row


def test_a_removed_episode_leaves_the_rows_to_the_others(ann, world, clock):
    for episode in ("show/1/1", "show/1/2"):
        clock.advance(minutes=1)
        ann.report(episode, 600, 3000)
    assert ann.row("continue-watching") == ["show/1/2"]
    world.put_titles(SHOW | {"seasons": [{"number": 1, "episodes": [EPISODES[0], EPISODES[2]]}]})
    assert ann.row("continue-watching") == ["show/1/1"]
    history = ann.viewer.get(ann.path("history")).json["items"]
    assert [item["episode"] and item["episode"]["number"] for item in history] == [None, 1]
    ann.watch("show/1/1")
    assert ann.row("next-up") == ["show/1/3"]
    assert ann.viewer.delete(ann.path("next-up", world.ids["show/1/2"])).status_code == 204
    assert ann.row("next-up") == [], "the removed episode stands for its series"


def test_a_removed_title_is_in_no_row(ann, world):
    for item in ("film", "cartoon"):
        ann.report(item, 600, play_id="offline")
    assert world.operator.delete(f"/v1/admin/titles/{world.ids['film']}").status_code == 204
    for row in ("continue-watching", "history", "plays"):
        assert ann.row(row) == ["cartoon"], row


def test_a_title_with_translations_is_in_each_row_once(ann, world):
    for title in (FILM, SHOW):
        world.put_titles(title | {"localizations": {"de": {"title": "Titel"}, "fr": {"title": "Titre"}}})
    ann.report("film", 600)
    ann.watch("show/1/1")
    ann.viewer.put(ann.path("watchlist", world.ids["film"]))
    assert (ann.row("continue-watching"), ann.row("next-up")) == (["film"], ["show/1/2"])
    assert (ann.row("history"), ann.row("watchlist")) == (["show/1/1", "film"], ["film"])


def test_an_item_that_was_played_for_a_second_is_in_the_history(ann):
    ann.report("film", 1)
    ann.report("cartoon", 0)
    assert ann.row("history") == ["film"]


def test_one_report_may_both_restart_an_item_and_finish_it(ann, clock):
    ann.report("film", 5900)
    clock.advance(hours=1)
    assert ann.report("film", 5900, restart=True).json["finished"]
    assert ann.row("continue-watching") == []


def test_history_counts_the_profiles_own_plays_of_each_item(ann):
    sibling = ann.sibling()
    for watcher, item, play_id in ((ann, "film", "1"), (ann, "cartoon", "2"), (sibling, "film", "3")):
        watcher.report(item, 600, play_id=play_id)
    plays = [item["plays"] for item in ann.viewer.get(ann.path("history")).json["items"]]
    assert plays == [{"starts": 1, "completions": 0}] * 2


def test_history_lists_each_item_once_the_latest_first(ann, clock):
    for item in ("film", "cartoon", "film"):
        clock.advance(minutes=1)
        ann.report(item, 600)
    assert ann.row("history") == ["film", "cartoon"]


def test_history_can_be_deleted_by_item_or_as_a_whole(ann, world):
    for item in ("film", "cartoon", "show/1/1"):
        ann.report(item, 600)
    ann.viewer.delete(ann.path("history", world.ids["film"]))
    assert sorted(ann.row("history")) == ["cartoon", "show/1/1"]
    assert ann.viewer.play("film").json["resume_s"] == 0
    ann.viewer.delete(ann.path("history"))
    assert ann.row("history") == []


def test_rows_are_paged(ann, clock):
    for item in ("film", "cartoon", "show/1/1", "show/1/2"):
        clock.advance(minutes=1)
        ann.report(item, 600)
    seen, cursor = [], ""
    for _ in range(4):
        page = ann.viewer.get(ann.path(f"history?limit=1{cursor and '&cursor='}{cursor}")).json
        seen += [item["item_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert seen == [item["item_id"] for item in ann.viewer.get(ann.path("history")).json["items"]]
    assert len(seen) == 4


def test_the_watchlist_is_sorted_by_addition(ann, world, clock):
    for title in ("film", "show", "film"):
        clock.advance(minutes=1)
        assert ann.viewer.put(ann.path("watchlist", world.ids[title])).status_code == 204
    wanted = ann.viewer.get(ann.path("watchlist")).json["items"]
    assert [item["title"]["title"] for item in wanted] == ["A Show", "A Film"]
    assert [item["item_id"] for item in wanted] == [item["title"]["id"] for item in wanted]
    assert ann.viewer.get(ann.path("watchlist?limit=1&include_total=true")).json["total"] == 2
    ann.viewer.delete(ann.path("watchlist", world.ids["show"]))
    assert len(ann.viewer.get(ann.path("watchlist")).json["items"]) == 1


def import_list(watcher, *entries, **headers):
    """[(title, whether it was added, why not)] of a list that was kept without an account."""
    ids = watcher.world.ids
    items = [{"title_id": ids.get(name, name), "added_at": added_at} for name, added_at in entries]
    response = watcher.viewer.post(watcher.path("watchlist"), {"items": items}, **headers)
    assert response.status_code == 200, response.json
    names = {title_id: name for name, title_id in ids.items()}
    return [
        (names.get(item["title_id"], item["title_id"]), item["added"], item["reason"])
        for item in response.json["items"]
    ]


@pytest.mark.every_database
def test_a_list_kept_without_an_account_moves_into_the_watchlist(ann, world, clock):
    bob = Watcher(world)
    world.put_titles(*({**title, "age_rating": "US:G"} for title in (FILM, CARTOON, SHOW)))
    world.put_titles({**FILM, "external_id": "adult", "title": "For adults", "age_rating": "DE:18"})
    assert ann.viewer.patch(ann.path(), {"max_age": 16}).status_code == 200
    entries = [
        ("film", "2026-01-01T10:00:00Z"),
        ("show", "2026-01-03T10:00:00Z"),
        ("film", "2026-01-02T10:00:00Z"),
        ("cartoon", "2099-01-01T00:00:00Z"),
        ("adult", None),
        ("show/1/1", None),
        ("ttl_unknown", None),
    ]
    assert ann.viewer.put(ann.path("watchlist", world.ids["show"])).status_code == 204
    first = import_list(ann, *entries, Idempotency_Key="the-list")
    assert first == [
        ("film", True, None),
        ("show", False, "already_there"),
        ("film", False, "already_there"),
        ("cartoon", True, None),
        *((name, False, "not_found") for name in ("adult", "show/1/1", "ttl_unknown")),
    ]
    clock.advance(minutes=1)
    assert import_list(ann, *entries, Idempotency_Key="the-list") == first
    again = [(name, added, reason or "already_there") for name, added, reason in import_list(ann, *entries)]
    assert [entry[1:] for entry in again] == [(False, reason or "already_there") for _, _, reason in first]
    wanted = ann.viewer.get(ann.path("watchlist")).json["items"]
    assert {item["item_id"]: item["added_at"] for item in wanted} == {
        world.ids["film"]: "2026-01-02T10:00:00Z",
        world.ids["show"]: "2026-01-15T12:00:00Z",
        world.ids["cartoon"]: "2026-01-15T12:00:00Z",
    }
    assert bob.row("watchlist") == []
    assert error_of(bob.viewer.post(ann.path("watchlist"), {"items": [{"title_id": "x"}]})) == (404, "not_found")
    too_many = [{"title_id": "x"}] * 101
    for items in ([], too_many, [{"title_id": "x", "added_at": "yesterday"}]):
        assert error_of(ann.viewer.post(ann.path("watchlist"), {"items": items})) == (422, "invalid")


def test_an_episode_cannot_be_added_to_the_watchlist(ann, world):
    assert error_of(ann.viewer.put(ann.path("watchlist", world.ids["show/1/1"]))) == (404, "not_found")


def test_item_states_have_progress_watchlist_and_rating(ann, world):
    ids = [world.ids[item] for item in ("film", "cartoon", "show/1/1")]
    ann.report("film", 600)
    ann.viewer.put(ann.path("watchlist", ids[1]))
    ann.viewer.put(ann.path("ratings", ids[0]), {"rating": "up"})
    ann.viewer.put(ann.path("ratings", ids[0]), {"rating": "down"})
    states = ann.viewer.get(ann.path(f"state?ids={','.join([*ids, 'ttl_unknown'])}")).json["items"]
    assert [(s["progress"] and s["progress"]["resume_s"], s["in_watchlist"], s["rating"]) for s in states] == [
        (600, False, "down"),
        (None, True, None),
        (None, False, None),
        (None, False, None),
    ]
    ann.viewer.delete(ann.path("ratings", ids[0]))
    assert ann.viewer.get(ann.path(f"state?ids={ids[0]}")).json["items"][0]["rating"] is None


def test_titles_above_the_profiles_age_limit_are_in_none_of_its_rows(ann, world, clock):
    for item in ("film", "cartoon", "show/1/1"):
        ann.report(item, 600)
        ann.viewer.put(ann.path("watchlist", world.ids[item.partition("/")[0]]))
    assert ann.viewer.patch(f"/v1/profiles/{ann.profile_id}", {"max_age": 6}).status_code == 200
    for row in ("continue-watching", "history"):
        assert ann.row(row) == ["cartoon"]
    assert len(ann.viewer.get(ann.path("watchlist")).json["items"]) == 1
    assert error_of(ann.report("film", 700)) == (404, "not_found")
    assert error_of(ann.viewer.put(ann.path("ratings", world.ids["film"]), {"rating": "up"})) == (404, "not_found")


def test_unavailable_titles_are_not_continued_but_stay_in_the_history(ann, world):
    ann.report("film", 600)
    world.put_titles(FILM | {"windows": []})
    assert (ann.row("continue-watching"), ann.row("history")) == ([], ["film"])


ROWS = ("continue-watching", "next-up", "history", "watchlist", "state?ids=ttl_1")


def test_another_accounts_profile_is_not_found(ann, world):
    eve = world.household()
    for row in ROWS:
        missing = eve.get(f"/v1/profiles/pro_1/{row}")
        foreign = eve.get(ann.path(row))
        assert error_of(foreign) == error_of(missing) == (404, "not_found"), row
    assert error_of(
        eve.put(
            ann.path("progress", world.ids["film"]), {"position_s": 1, "duration_s": 9, "at": "2026-01-01T00:00:00Z"}
        )
    ) == (404, "not_found")


def test_a_locked_profile_is_closed_to_other_profiles(ann):
    def outcomes():
        responses = [ann.viewer.get(f"/v1/profiles/{other}/{row}") for row in ROWS]
        return {(response.status_code, response.json.get("code")) for response in responses}

    other = ann.viewer.post("/v1/profiles", {"name": "Parent"}).json["id"]
    assert ann.viewer.put(f"/v1/profiles/{other}/pin", {"pin": "4711"}).status_code == 204
    assert outcomes() == {(403, "pin_required")}
    assert ann.viewer.patch("/v1/sessions/current", {"profile_id": other, "pin": "4711"}).status_code == 200
    assert outcomes() == {(200, None)}


def test_a_deleted_profile_keeps_its_progress_until_it_is_purged(ann, app):
    other = ann.viewer.post("/v1/profiles", {"name": "Guest"}).json["id"]
    body = {"position_s": 600, "duration_s": 6000, "at": NOON.isoformat()}
    assert ann.viewer.put(f"/v1/profiles/{other}/progress/{ann.world.ids['film']}", body).status_code == 200
    assert ann.viewer.delete(f"/v1/profiles/{other}").status_code == 204
    for days, count in ((29, 1), (2, 0)):  # until then it can be restored
        app.extensions["clock"].advance(days=days)
        with app.app_context():
            purge_expired_data({}, app.extensions["clock"]())
            assert db.session.query(Progress).filter_by(profile_id=other).count() == count


WRITES = {
    "report progress": lambda ann, film, at: ann.report("film", 1200, at=at),
    "report a batch": lambda ann, film, at: ann.viewer.post(
        ann.path("progress"),
        {"items": [{"item_id": film, "position_s": 1200, "duration_s": 6000, "at": at.isoformat()}]},
    ),
    "watch": lambda ann, film, at: ann.viewer.send_heartbeat(ann.viewer.play("film").json["stream_id"], 1200),
    "hide": lambda ann, film, at: ann.viewer.delete(ann.path("continue-watching", film)),
    "delete from the history": lambda ann, film, at: ann.viewer.delete(ann.path("history", film)),
    "delete the history": lambda ann, film, at: ann.viewer.delete(ann.path("history")),
    "add to the watchlist": lambda ann, film, at: ann.viewer.put(ann.path("watchlist", ann.world.ids["show"])),
    "remove from the watchlist": lambda ann, film, at: ann.viewer.delete(ann.path("watchlist", film)),
    "rate": lambda ann, film, at: ann.viewer.put(ann.path("ratings", film), {"rating": "down"}),
    "clear the rating": lambda ann, film, at: ann.viewer.delete(ann.path("ratings", film)),
    "delete the profile": lambda ann, film, at: ann.viewer.delete(ann.path()),
}


ITEM_WRITES = ("hide", "delete from the history", "remove from the watchlist", "clear the rating")


@pytest.mark.parametrize("write", ITEM_WRITES)
def test_a_write_to_an_item_leaves_the_profiles_other_items_untouched(ann, world, clock, write):
    cartoon = world.ids["cartoon"]
    for item in ("film", "cartoon"):
        ann.report(item, 600)
        ann.viewer.put(ann.path("watchlist", world.ids[item]))
        ann.viewer.put(ann.path("ratings", world.ids[item]), {"rating": "up"})
    before = ann.viewer.get(ann.path(f"state?ids={cartoon}")).json
    assert WRITES[write](ann, world.ids["film"], clock()).status_code == 204
    assert ann.viewer.get(ann.path(f"state?ids={cartoon}")).json == before
    assert "cartoon" in ann.row("continue-watching")


@pytest.mark.parametrize("write", WRITES)
def test_a_write_to_a_profile_touches_neither_other_profiles_nor_other_accounts(ann, world, clock, write):
    """All three profiles have the film in progress, on the watchlist and rated."""
    sibling, stranger, film = ann.sibling(), Watcher(world), world.ids["film"]
    for watcher in (ann, sibling, stranger):
        assert watcher.report("film", 600).status_code == 200
        assert watcher.viewer.put(watcher.path("watchlist", film)).status_code == 204
        assert watcher.viewer.put(watcher.path("ratings", film), {"rating": "up"}).status_code == 204
    rows = ("continue-watching", "history", "watchlist", f"state?ids={film},{world.ids['show']}")

    def state(watcher):
        return [watcher.viewer.get(watcher.path(row)).json for row in rows]

    clock.advance(minutes=1)
    before = {watcher: state(watcher) for watcher in (ann, sibling, stranger)}
    assert WRITES[write](ann, film, clock()).status_code in (200, 204)
    assert state(ann) != before[ann]
    assert (state(sibling), state(stranger)) == (before[sibling], before[stranger])
