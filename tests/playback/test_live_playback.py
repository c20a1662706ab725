"""Live channels and catch-up: the access decision at the start and at every heartbeat, slots, progress and tokens."""

from datetime import timedelta

import pytest

from streamsvc.operations.catalog.channels import guide
from streamsvc.rules.catalog.programmes import Airing, ProgrammeRecord, build_schedule
from streamsvc.rules.playback.tokens import allows_path
from streamsvc.storage.database import db
from tests.worlds.channel_steps import LiveWorld
from tests.worlds.playback_steps import FILM, SHOW, error_of


@pytest.fixture
def world(app):
    return LiveWorld(app)


def put_schedule(world, *airings, key="news"):
    """Put programmes (title, start in minutes from now, end, members of the record) without a guide's file."""
    now = world.clock()
    schedule = [
        Airing(
            now + timedelta(minutes=start),
            now + timedelta(minutes=end),
            ProgrammeRecord(title, **(more[0] if more else {})),
        )
        for title, start, end, *more in airings
    ]
    with world.app.app_context():
        assert guide.replace_programmes(key, build_schedule(schedule)) is not None
        db.session.commit()


def kids(viewer, max_age=12):
    """Limit the viewer's profile."""
    response = viewer.patch(f"/v1/profiles/{viewer.profile_id}", {"max_age": max_age})
    assert response.status_code == 200, response.json


def test_a_live_stream_takes_a_slot_and_saves_no_position(world):
    channel = world.put_channel()
    viewer = world.household(world.put_plan(max_streams=1))
    put_schedule(world, ("The news", -10, 20))
    started = viewer.play("news")
    assert started.status_code == 201, started.json
    assert (started.json["resume_s"], started.json["cmcd"]["cid"]) == (0, channel)
    assert started.json["manifests"] == [{"type": "hls", "url": "https://cdn.example/news/live.m3u8"}]
    assert error_of(viewer.on_another_device().play("news")) == (409, "stream_limit")
    stream_id = started.json["stream_id"]
    [stream] = world.operator.get("/v1/admin/streams").json["items"]
    assert (stream["item_id"], stream["title_id"]) == (channel, channel)
    for position_s in (40, 70, 10):  # a player may report its position within the live window
        world.clock.advance(seconds=30)
        assert viewer.send_heartbeat(stream_id, position_s).status_code == 200
    ended = viewer.send_heartbeat(stream_id, 40, state="ended")
    assert ended.status_code == 200
    state = viewer.get(f"/v1/profiles/{viewer.profile_id}/state?ids={channel}").json["items"][0]
    assert state["progress"] is None
    usage = world.operator.get("/v1/admin/reports/usage").json
    assert [(row["title_id"], row["title"], row["starts"]) for row in usage["titles"]] == [(channel, "News One", 1)]
    assert usage["total"]["completions"] == 0
    report = {"position_s": 1, "duration_s": 2, "at": world.clock().isoformat()}
    assert viewer.put(f"/v1/profiles/{viewer.profile_id}/progress/{channel}", report).status_code == 422
    assert viewer.put(f"/v1/profiles/{viewer.profile_id}/watchlist/{channel}").status_code == 404
    [play] = world.operator.get(f"/v1/admin/accounts/{viewer.account_id}/plays").json["items"]
    assert (play["item"]["title"], play["item"]["id"]) == ("News One", channel)
    [own] = viewer.get(f"/v1/profiles/{viewer.profile_id}/plays").json["items"]
    assert (own["item_id"], own["completed_at"]) == (channel, None)


def test_a_programme_above_the_age_limit_ends_the_stream_when_it_begins(world):
    world.put_channel()
    viewer = world.household(world.put_plan())
    adult = viewer.on_another_device()
    kids(viewer)
    other = viewer.post("/v1/profiles", {"name": "Adult"}).json["id"]
    assert adult.patch("/v1/sessions/current", {"profile_id": other}).status_code == 200
    put_schedule(world, ("For all", -10, 1), ("Horror night", 1, 60, {"age_rating": "DE:18"}), ("Rest", 60, 90))
    streams = [watching.play("news").json["stream_id"] for watching in (viewer, adult)]
    world.clock.advance(seconds=50)
    assert viewer.send_heartbeat(streams[0]).status_code == 200
    world.clock.advance(seconds=20)
    refused = viewer.send_heartbeat(streams[0])
    assert (*error_of(refused), refused.json["reason"]) == (410, "stream_ended", "programme_restricted")
    assert adult.send_heartbeat(streams[1]).status_code == 200
    assert error_of(viewer.play("news")) == (403, "programme_restricted")
    listed = viewer.get("/v1/catalog/channels").json["items"]
    assert [(item["name"], item["now"], item["next"]["title"]) for item in listed] == [("News One", None, "Rest")]
    page = viewer.get(f"/v1/catalog/channels/{world.ids['news']}").json
    assert page["availability"] == {
        "playable": False,
        "reason": "programme_restricted",
        "starts_at": None,
        "ends_at": None,
    }
    world.clock.advance(hours=1)
    assert viewer.play("news").status_code == 201


def test_a_programme_restricts_its_channel_until_it_ends(world):
    world.put_channel()
    viewer = world.household(world.put_plan())
    kids(viewer)
    put_schedule(world, ("Horror night", -30, 1, {"age_rating": "DE:18"}))
    assert error_of(viewer.play("news")) == (403, "programme_restricted")
    for minutes in (1, 5):
        world.clock.advance(minutes=minutes)
        assert viewer.play("news").status_code == 201


@pytest.mark.parametrize(
    ("channel", "programme", "code"),
    [
        ({"age_rating": None}, {}, "not_found"),
        ({"age_rating": None}, {"age_rating": "DE:6"}, "not_found"),
        ({"age_rating": "DE:16"}, {"age_rating": "DE:6"}, "not_found"),
        ({}, {"has_unknown_rating": True}, "programme_restricted"),
        ({}, {"age_rating": "US:NR"}, None),
        ({}, {"age_rating": "DE:12"}, None),
    ],
)
def test_what_is_not_rated_fails_closed_for_a_limited_profile(world, channel, programme, code):
    world.put_channel(catchup_hours=24, **channel)
    viewer = world.household(world.put_plan(max_streams=3))
    put_schedule(world, ("Anything", -10, 20, programme))
    recorded = world.programmes(viewer)["Anything"]["id"]
    assert viewer.play("news").status_code == viewer.play(recorded).status_code == 201, "a profile without a limit"
    kids(viewer)
    refused = viewer.play("news")
    assert refused.status_code == 201 if code is None else refused.json["code"] == code
    refused = viewer.play(recorded)
    assert refused.status_code == 201 if code is None else refused.json["code"] == "not_found"
    assert len(viewer.get("/v1/catalog/channels").json["items"]) == (code != "not_found")


def test_a_programme_above_a_new_age_limit_leaves_the_plays(world):
    channel, late = world.put_channel(catchup_hours=24), world.put_channel("late", name="Late", age_rating="DE:16")
    viewer = world.household(world.put_plan(max_streams=4))
    put_schedule(world, ("For all", -90, -60), ("Horror night", -60, -10, {"age_rating": "DE:18"}))
    ids = [world.programmes(viewer)[title]["id"] for title in ("For all", "Horror night")]
    for item in (channel, late, *ids):
        assert viewer.send_heartbeat(viewer.play(item).json["stream_id"]).status_code == 200
    kids(viewer)
    plays = viewer.get(f"/v1/profiles/{viewer.profile_id}/plays?include_total=true").json
    assert ({play["item_id"] for play in plays["items"]}, plays["total"]) == ({channel, ids[0]}, 2)
    assert streams_of(viewer) == {channel, ids[0]}


def streams_of(viewer):
    """Return what the account's streams play, as far as the viewer's profile may know."""
    return {stream["item_id"] for stream in viewer.get("/v1/playback").json["items"]} - {None}


def plays_of(viewer, query=""):
    """Return the items of the profile's plays; the total must be theirs."""
    page = viewer.get(f"/v1/profiles/{viewer.profile_id}/plays?include_total=true{query}").json
    assert page["total"] == len(page["items"])
    return {play["item_id"] for play in page["items"]}


@pytest.mark.every_database
def test_a_programme_without_a_rating_has_that_of_the_title_it_broadcasts(world):
    world.put_titles(
        {**FILM, "external_id": "imdb:tt0000042", "age_rating": "DE:16"},
        {**FILM, "external_id": "imdb:tt0000043", "adult": True, "age_rating": None},
        {**FILM, "external_id": "imdb:tt0000044", "age_rating": None},
    )
    world.put_channel(catchup_hours=24)
    viewer = world.household(world.put_plan())
    put_schedule(
        world, ("Rated", -40, -30, {"imdb_id": "tt0000042"}), ("Adult", -30, -20, {"imdb_id": "tt0000043"}),
        ("Cut for all", -20, -10, {"imdb_id": "tt0000042", "age_rating": "DE:6"}),
        ("Unrated", -10, 0, {"imdb_id": "tt0000044"}), ("Rated again", 0, 30, {"imdb_id": "tt0000042"}),
    )  # fmt: skip
    ids = {title: item["id"] for title, item in world.programmes(viewer).items()}
    assert len(ids) == 5
    kids(viewer)
    assert list(world.programmes(viewer)) == ["Cut for all", "Unrated"]
    assert error_of(viewer.play(ids["Rated"])) == error_of(viewer.play(ids["Adult"])) == (404, "not_found")
    assert error_of(viewer.play("news")) == (403, "programme_restricted")
    assert viewer.play(ids["Cut for all"]).status_code == 201


@pytest.mark.every_database
def test_plays_of_channels_and_programmes_follow_the_title_rules(world):
    world.put_titles(FILM, {**FILM, "external_id": "imdb:tt0000042", "tags": ["gore"], "genres": ["horror"]})
    news, sport = world.put_channel(catchup_hours=24), world.put_channel("sport", name="Sport", genres=["sport"])
    viewer = world.household(world.put_plan(max_streams=9))
    sibling = viewer.on_another_device()
    sibling.profile_id = viewer.post("/v1/profiles", {"name": "Other"}).json["id"]
    assert sibling.patch("/v1/sessions/current", {"profile_id": sibling.profile_id}).status_code == 200
    put_schedule(world, ("Gore", -90, -60, {"imdb_id": "tt0000042"}), ("Match", -60, -30, {"genres": ["sport"]}),
                 ("Talk", -30, -10))  # fmt: skip
    gore, match, talk = (world.programmes(viewer)[title]["id"] for title in ("Gore", "Match", "Talk"))
    every = {world.ids["film"], news, sport, gore, match, talk}
    for item in every:
        assert viewer.send_heartbeat(viewer.play(item).json["stream_id"]).status_code == 200
    assert sibling.send_heartbeat(sibling.play(gore).json["stream_id"]).status_code == 200
    assert plays_of(viewer) == every
    path = f"/v1/profiles/{viewer.profile_id}/restrictions"
    for rules, hidden in (
        ({"blocked": {"tags": ["gore"]}}, {gore}),
        ({"blocked": {"genres": ["horror"]}}, {gore}),
        ({"blocked": {"titles": [world.ids["imdb:tt0000042"]]}}, {gore}),
        ({"blocked": {"genres": ["sport"]}}, {sport, match}),
        ({"blocked": {"titles": [news]}}, {news, gore, match, talk}),
        ({"blocked": {"titles": [world.ids["film"]]}}, {world.ids["film"]}),
        ({"allowed_only": {"titles": [sport]}}, every - {sport}),
        ({"allowed_only": {"genres": ["sport"]}}, every - {sport}),
        ({"allowed_only": {"titles": [news], "genres": ["sport"]}, "blocked": {"tags": ["gore"]}},
         {gore, world.ids["film"]}),
    ):  # fmt: skip
        assert viewer.put(path, rules).status_code == 200
        assert plays_of(viewer) == every - hidden, rules
        assert streams_of(viewer) == every - hidden, rules
        for item in every:
            own = {news, gore, match, talk} if item == news else {item}
            assert plays_of(viewer, f"&item_id={item}") == own - hidden
    assert plays_of(sibling) == {gore}
    assert viewer.put(path, {"blocked": {"tags": ["gore"]}}).status_code == 200
    world.clock.advance(hours=30)
    with world.app.app_context():
        guide.purge_old_programmes({}, world.clock())
    assert plays_of(viewer) == {world.ids["film"], news, sport}, "nobody knows any more what a programme broadcast"
    assert viewer.delete(f"/v1/profiles/{viewer.profile_id}/history/{news}").status_code == 204
    assert plays_of(viewer) == {world.ids["film"], sport}


@pytest.mark.every_database
@pytest.mark.parametrize("blocked", [{"tags": ["gore"]}, {"genres": ["horror"]}])
def test_what_blocks_a_title_blocks_the_programmes_that_broadcast_it(world, blocked):
    world.put_titles({**FILM, "external_id": "imdb:tt0000042", "tags": ["gore"], "genres": ["horror"]})
    world.put_channel(catchup_hours=24)
    viewer, programme = world.household(world.put_plan()), {"imdb_id": "tt0000042"}
    put_schedule(world, ("Shown last hour", -70, -10, programme), ("On now", -10, 20, programme), ("Other", 20, 30))
    shown = world.programmes(viewer)
    assert viewer.put(f"/v1/profiles/{viewer.profile_id}/restrictions", {"blocked": blocked}).status_code == 200
    assert list(world.programmes(viewer)) == ["Other"]
    [grid] = viewer.get("/v1/catalog/programmes").json["items"]
    assert [item["title"] for item in grid["programmes"]] == ["Other"]
    [channel] = viewer.get("/v1/catalog/channels").json["items"]
    page = viewer.get(f"/v1/catalog/channels/{channel['id']}").json
    assert (channel["now"], page["now"], page["availability"]["reason"]) == (None, None, "programme_restricted")
    for item in ("news", shown["Shown last hour"]["id"]):
        assert error_of(viewer.play(item)) == (403, "programme_restricted")


def test_channels_follow_windows_plans_and_the_households_rules(world):
    world.put_titles(SHOW)
    world.put_channel(windows=[{"countries": ["US"]}])
    world.put_channel("sport", name="Sport", number="2", plans=["sport"], genres=["Sport"])
    world.put_channel("later", name="Later", number="3", windows=[{"starts_at": "2026-01-16T00:00:00Z"}])
    viewer, guest = world.household(world.put_plan()), world.household()
    assert error_of(viewer.play("news")) == (403, "not_available_in_country")
    assert error_of(viewer.play("sport")) == (403, "not_in_plan")
    assert error_of(viewer.play("later")) == (403, "not_yet_available")
    assert error_of(guest.play("sport")) == (403, "subscription_required")
    assert viewer.get("/v1/catalog/channels").json["items"] == []
    world.put_channel()
    world.put_channel("sport", name="Sport", number="2", genres=["Sport"])
    rules = {"blocked": {"titles": [world.ids["show"]], "genres": ["sport"]}, "allowed_only": None}
    path = f"/v1/profiles/{viewer.profile_id}/restrictions"
    assert viewer.put(path, rules | {"viewing_hours": None}).status_code == 200
    assert error_of(viewer.play("sport")) == (404, "not_found")
    assert [item["name"] for item in viewer.get("/v1/catalog/channels").json["items"]] == ["News One"]
    assert viewer.play("news").status_code == 201
    put_schedule(world, ("A Show", -10, 2), ("Match", 2, 30, {"genres": ["sport"]}))
    assert viewer.play("news").status_code == 201
    world.clock.advance(minutes=3)
    assert error_of(viewer.play("news")) == (403, "programme_restricted"), "its genre is blocked"
    only = {"blocked": {"titles": [], "genres": []}, "allowed_only": {"titles": [world.ids["sport"]], "genres": []}}
    assert viewer.put(path, only | {"viewing_hours": None}).status_code == 200
    assert error_of(viewer.play("news")) == (404, "not_found")
    assert viewer.play("sport").status_code == 201


ARCHIVE = {"hls": "https://cdn.example/news/archive-{start}-{duration}.m3u8"}


def test_a_programme_can_be_played_from_its_start_until_its_catch_up_is_over(world):
    world.put_channel(catchup_hours=24, catchup_media=ARCHIVE)
    viewer = world.household(world.put_plan())
    put_schedule(world, ("Early", -60, -30), ("Now", -30, 30), ("Tomorrow", 30, 60, {"age_rating": "DE:18"}))
    programmes = world.programmes(viewer)
    assert error_of(viewer.play(programmes["Tomorrow"]["id"])) == (403, "not_yet_available")
    started = viewer.play(programmes["Early"]["id"])
    start = int((world.clock() - timedelta(minutes=60)).timestamp())
    assert started.json["manifests"][0]["url"] == f"https://cdn.example/news/archive-{start}-1800.m3u8"
    world.clock.advance(seconds=30)
    assert viewer.send_heartbeat(started.json["stream_id"], 600).status_code == 200
    assert viewer.play(programmes["Early"]["id"]).json["resume_s"] == 600
    assert viewer.play(programmes["Now"]["id"]).json["resume_s"] == 0, "each has its own progress"
    sibling = viewer.post("/v1/profiles", {"name": "Sibling"}).json["id"]
    assert viewer.patch("/v1/sessions/current", {"profile_id": sibling}).status_code == 200
    assert viewer.play(programmes["Early"]["id"]).json["resume_s"] == 0, "each profile has its own, too"
    assert viewer.patch("/v1/sessions/current", {"profile_id": viewer.profile_id}).status_code == 200
    path = f"/v1/profiles/{viewer.profile_id}/progress/{programmes['Now']['id']}"
    report = {"position_s": 3590, "duration_s": 3600, "at": world.clock().isoformat()}
    assert viewer.put(path, report).json["watched"] is True
    world.clock.advance(hours=23, minutes=29, seconds=29)
    assert viewer.play(programmes["Early"]["id"]).status_code == 201
    world.clock.advance(seconds=1)
    assert error_of(viewer.play(programmes["Early"]["id"])) == (403, "no_longer_available")
    assert world.programmes(viewer)["Early"]["catchup"] is None
    kids(viewer)
    assert error_of(viewer.play(programmes["Tomorrow"]["id"])) == (404, "not_found")
    assert viewer.play(programmes["Now"]["id"]).status_code == 201
    assert "Tomorrow" not in world.programmes(viewer)
    world.put_channel()
    assert error_of(viewer.play(programmes["Now"]["id"])) == (403, "no_longer_available"), "without catch-up"


def claims_of(world, response):
    from streamsvc.security import playback_tokens

    with world.app.app_context():
        keys = playback_tokens.media_keys(world.app.extensions["settings"].secret_key)
    return playback_tokens.decode_claims(response.json["grant"]["token"], keys)


def test_tokens_of_live_and_of_catch_up_open_no_more_than_their_own(world):
    world.put_titles(
        {"external_id": "film", "kind": "movie", "title": "F", "media": {"hls": "https://c.example/n/f.m3u8"}}
    )
    world.put_channel(catchup_hours=24, catchup_media=ARCHIVE)
    world.put_channel("flat", media={"hls": "https://c.example/n/7.m3u8"})
    world.put_channel("flat2", media={"hls": "https://c.example/n/8.m3u8"})
    viewer = world.household(world.put_plan(max_streams=9))
    put_schedule(world, ("Early", -60, -30), ("Now", -30, 30))
    early = world.programmes(viewer)["Early"]["id"]
    claims = {
        name: claims_of(world, viewer.play(item))
        for name, item in (("live", "news"), ("early", early), ("flat", "flat"), ("film", "film"))
    }
    start = int((world.clock() - timedelta(minutes=60)).timestamp())
    expected = {
        "/news/live.m3u8": {"live"},
        "/news/segment-1.ts": {"live"},
        f"/news/archive-{start}-1800.m3u8": {"early"},
        f"/news/archive-{start}-1800/1.ts": {"early"},
        f"/news/archive-{start + 1800}-3600.m3u8": set(),
        "/n/7.m3u8": {"flat"},
        "/n/7/1.ts": {"flat"},
        "/n/8.m3u8": set(),
        "/n/f.m3u8": {"film"},
        "/n/1.ts": set(),
    }
    opened = {path: {name for name in claims if allows_path(claims[name], path, r"(\d+)p/")} for path in expected}
    assert opened == expected


def test_a_film_and_a_channel_in_one_folder_open_nothing_of_each_other(world):
    film = {"external_id": "film", "kind": "movie", "title": "F", "media": {"hls": "https://c.example/n/f.m3u8"}}
    world.put_titles(film)
    world.put_channel("flat", media={"hls": "https://c.example/n/7.m3u8"})
    world.put_channel("alone", media={kind: f"https://c.example/m/8.{kind}" for kind in ("hls", "dash")})
    viewer = world.household(world.put_plan(max_streams=3))
    claims = {name: claims_of(world, viewer.play(name)) for name in ("film", "flat", "alone")}
    opened = {
        path: [name for name in claims if allows_path(claims[name], path, r"(\d+)p/")]
        for path in ("/n/f.m3u8", "/n/7.m3u8", "/n/1.ts", "/m/1.ts")
    }
    assert opened == {"/n/f.m3u8": ["film"], "/n/7.m3u8": ["flat"], "/n/1.ts": [], "/m/1.ts": ["alone"]}


def test_an_operator_learns_why_a_channel_or_a_programme_does_not_play(world):
    world.put_channel(catchup_hours=1)
    viewer = world.household(world.put_plan())
    kids(viewer)
    put_schedule(world, ("Early", -60, -30), ("Late", -30, 30, {"age_rating": "DE:18"}))
    early = world.programmes()["Early"]["id"]
    ask = {"account_id": viewer.account_id, "item_id": world.ids["news"]}

    def failed(**more):
        answer = world.operator.post("/v1/admin/explain", ask | more).json
        return [check["check"] for check in answer["checks"] if not check["passed"]]

    assert failed() == ["programme"]
    assert failed(at=(world.clock() - timedelta(minutes=40)).isoformat()) == []
    assert failed(item_id=early) == []
    assert failed(item_id=early, at=(world.clock() + timedelta(minutes=30)).isoformat()) == ["not_over"]
    assert failed(item_id=early, at=(world.clock() - timedelta(minutes=61)).isoformat()) == ["begun"]
    assert failed(item_id="chn_unknown") == ["in_catalogue"]


def test_a_removed_channel_ends_its_streams_and_gets_its_id_back(world):
    channel = world.put_channel(catchup_hours=24)
    viewer = world.household(world.put_plan())
    put_schedule(world, ("The news", -10, 20))
    programme = world.programmes(viewer)["The news"]["id"]
    stream_id = viewer.play("news").json["stream_id"]
    assert world.operator.delete("/v1/admin/channels/news").status_code == 204
    world.clock.advance(seconds=30)
    refused = viewer.send_heartbeat(stream_id)
    assert (*error_of(refused), refused.json["reason"]) == (410, "stream_ended", "no_longer_available")
    for refused in (viewer.get(f"/v1/catalog/channels/{channel}"), viewer.play(channel), viewer.play(programme)):
        assert error_of(refused) == (404, "not_found")
    assert world.put_channel() == channel
    assert world.programmes() == {}
