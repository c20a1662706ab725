"""Episodes with windows, plans and ages of their own: every place decides as it would about a film with these."""

import random
from datetime import timedelta

import pytest

from tests.conftest import NOON
from tests.playback.test_playback_verdicts import COUNTRIES, PLANS, RATINGS, error_code, some_windows
from tests.worlds.playback_steps import EPISODES, FILM, SHOW, Watcher, World, error_of
from tests.worlds.scenes import set_scene

SERIES, TIMES = 12, 2
DAY = timedelta(days=1)


def some_rights(chance):
    """Return rights of a series, a season or an episode; those left out are as in the one above."""
    rights = {
        "age_rating": chance.choice(RATINGS),
        "windows": some_windows(chance),
        "plans": chance.choice([chance.sample(PLANS, chance.randrange(1, 3)), []]),
    }
    shares = {"age_rating": 0.2, "windows": 0.6, "plans": 0.15}
    return {name: value for name, value in rights.items() if chance.random() < shares[name] and value is not None}


def strictest(*ratings):
    """Return the rating of a film that is as strict as all of these; None, unrated, is the strictest."""
    return max(ratings, key=lambda rating: len(RATINGS) if rating is None else RATINGS.index(rating))


def put_series_and_film(chance, world, number):
    """Put a series whose second episode has some rights, and a film with the same."""
    series, season, episode = some_rights(chance), some_rights(chance), some_rights(chance)
    episodes = [{"number": 1, "runtime_s": 3000, **series}, {"number": 2, "runtime_s": 3000, **episode}]
    show = {"external_id": f"show{number}", "kind": "series", "title": "Show", **series}
    world.put_titles(show | {"seasons": [{"number": 1, "episodes": episodes, **season}]})
    own = season.get("age_rating") if "age_rating" not in episode else episode["age_rating"]
    ages = [series.get("age_rating"), *([own] if own else [])]
    rights = series | season | episode | {"age_rating": strictest(*ages)}
    world.put_titles({"external_id": f"film{number}", "kind": "movie", "title": "Film", **rights})


def verdicts(world, viewer, name):
    """Return what playback, the item's page and the explanation say about an item."""
    item_id, played = world.ids[name], error_code(viewer.play(name))
    page = viewer.get(f"/v1/catalog/{'episodes' if '/' in name else 'titles'}/{item_id}")
    shown = page.json["availability"]["reason"] if page.status_code == 200 else page.json["code"]
    body = {"account_id": viewer.account_id, "item_id": item_id}
    return played, shown, world.operator.post("/v1/admin/explain", body).json["code"]


@pytest.mark.parametrize("seed", range(2))
def test_an_episode_and_a_film_with_the_same_rights_are_decided_alike(app, clock, seed):
    chance, world = random.Random(seed), World(app)
    prices = [world.put_plan(code, max_streams=1000) for code in PLANS]
    for number in range(SERIES):
        put_series_and_film(chance, world, number)
    outcomes, rows = set(), set()
    for max_age in (None, 6, 13):
        viewer = world.household(plan=chance.choice(prices), country=chance.choice(COUNTRIES))
        for number in range(SERIES):
            report = {"position_s": 3000, "duration_s": 3000, "at": clock().isoformat()}
            path = f"/v1/profiles/{viewer.profile_id}/progress/{world.ids[f'show{number}/1/1']}"
            assert viewer.put(path, report).status_code == 200
        assert viewer.patch(f"/v1/profiles/{viewer.profile_id}", {"max_age": max_age}).status_code == 200
        for _ in range(TIMES):
            listed = {title["id"] for title in viewer.get("/v1/catalog/titles?limit=100").json["items"]}
            page = viewer.get(f"/v1/profiles/{viewer.profile_id}/next-up?limit=100").json["items"]
            next_up = {item["item_id"] for item in page}
            for number in range(SERIES):
                film, episode = verdicts(world, viewer, f"film{number}"), verdicts(world, viewer, f"show{number}/1/2")
                assert len({*film, *episode}) == 1, (seed, number, film, episode)
                is_offered = {world.ids[f"show{number}"], world.ids[f"film{number}"]} <= listed
                assert (world.ids[f"show{number}/1/2"] in next_up) == is_offered, (seed, number)
                outcomes.add(film[0])
                rows.add(is_offered)
            clock.advance(days=chance.randrange(1, 8))
            viewer = viewer.on_another_device()
        clock.at = NOON
    assert len(outcomes) >= 4 and rows == {True, False}


def build_world(app, with_ann):
    world = World(app)
    world.ann = Watcher(world) if with_ann else None
    return world


@pytest.fixture
def world(app, request):
    return set_scene(app, build_world, "ann" in request.fixturenames)


@pytest.fixture
def ann(world):
    return world.ann


def put_show(world, *episodes, **season):
    """Put the show with one season of episodes, each given by what it has besides number, title and length."""
    numbered = [{"number": n, "title": f"Episode {n}", "runtime_s": 3000, **more} for n, more in enumerate(episodes, 1)]
    world.put_titles(SHOW | {"seasons": [{"number": 1, "episodes": numbered, **season}]})


def listed(ann, path="episodes"):
    return {
        item["number"]: item
        for item in ann.viewer.get(f"/v1/catalog/titles/{ann.world.ids['show']}/{path}").json["items"]
    }


def starting(at, **more):
    return {"windows": [{"starts_at": at.isoformat(), **more}]}


def test_an_episode_opens_everywhere_at_once(ann, world, clock):
    put_show(world, {}, starting(NOON + timedelta(hours=1)), {"windows": []})
    ann.watch("show/1/1")
    later = listed(ann)[2]["availability"]
    assert later == {
        "playable": False,
        "reason": "not_yet_available",
        "starts_at": "2026-01-15T13:00:00Z",
        "ends_at": None,
    }
    path = f"/v1/catalog/titles/{world.ids['show']}"
    first = ann.viewer.get(f"{path}/episodes")
    expanded = ann.viewer.get(f"{path}?expand=seasons").json["seasons"][0]["episodes"]
    assert expanded == first.json["items"]
    assert (ann.row("next-up"), error_of(ann.viewer.play("show/1/2"))) == ([], (403, "not_yet_available"))
    assert error_of(ann.viewer.play("show/1/3")) == (403, "not_available_in_country")
    clock.advance(hours=1)
    again = ann.viewer.call("GET", f"{path}/episodes", If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.json["items"][1]["availability"]["playable"]) == (200, True)
    assert (ann.row("next-up"), ann.viewer.play("show/1/2").status_code) == (["show/1/2"], 201)


def test_a_series_that_paused_for_years_comes_back_when_the_window_of_an_episode_opens(ann, world, clock):
    put_show(world, {}, starting(NOON + 700 * DAY))
    ann.watch("show/1/1")
    for days, row in ((699, []), (1, ["show/1/2"])):
        clock.advance(days=days)
        ann.viewer = ann.viewer.on_another_device()
        assert ann.row("next-up") == row, days


def test_an_episode_that_ends_leaves_the_rows_to_the_others(ann, world, clock):
    put_show(world, {}, {"windows": [{"ends_at": (NOON + DAY).isoformat()}]}, {})
    ann.report("show/1/1", 600, 3000)
    clock.advance(minutes=1)
    ann.report("show/1/2", 600, 3000)
    assert ann.row("continue-watching") == ["show/1/2"]
    stream = ann.viewer.play("show/1/2").json["stream_id"]
    clock.advance(hours=23, minutes=58, seconds=30)
    assert ann.viewer.send_heartbeat(stream).status_code in (200, 410)
    clock.advance(minutes=2)
    ann.viewer = ann.viewer.on_another_device()
    assert (ann.row("continue-watching"), ann.row("history")) == (["show/1/1"], ["show/1/2", "show/1/1"])
    ann.watch("show/1/1")
    assert ann.row("next-up") == ["show/1/3"]
    assert error_of(ann.viewer.play("show/1/2")) == (403, "no_longer_available")


def test_a_stream_ends_with_the_window_of_its_episode(ann, world, clock):
    put_show(world, {"windows": [{"ends_at": (NOON + timedelta(seconds=45)).isoformat()}]})
    stream = ann.viewer.play("show/1/1").json["stream_id"]
    clock.advance(seconds=30)
    assert ann.viewer.send_heartbeat(stream).status_code == 200
    clock.advance(seconds=30)
    ended = ann.viewer.send_heartbeat(stream)
    assert (ended.status_code, ended.json["reason"]) == (410, "no_longer_available")


def test_a_child_finds_no_trace_of_an_episode_above_its_age(ann, world):
    put_show(world, {}, {"age_rating": "US:TV-MA"}, {"age_rating": "US:TV-Y"}, {"age_rating": "US:NR"})
    ann.report("show/1/2", 600, 3000)
    ann.viewer.play("show/1/2")
    stream = ann.viewer.play("show/1/2").json["stream_id"]
    ann.viewer.send_heartbeat(stream, 700)
    assert ann.viewer.get(ann.path("plays")).json["items"]
    assert ann.viewer.patch(f"/v1/profiles/{ann.profile_id}", {"max_age": 14}).status_code == 200
    ended = ann.viewer.send_heartbeat(stream, 800)
    assert (ended.status_code, ended.json["reason"]) == (410, "not_found")
    assert (list(listed(ann)), listed(ann, "seasons")[1]["episode_count"]) == ([1, 3], 2)
    blocked = world.ids["show/1/2"]
    [state] = ann.viewer.get(ann.path(f"state?ids={blocked}")).json["items"]
    assert state == {"id": blocked, "progress": None, "in_watchlist": False, "rating": None}
    for row in ("continue-watching", "next-up", "history"):
        assert ann.row(row) == [], row
    assert ann.viewer.get(ann.path("plays")).json["items"] == []
    for item in (blocked, world.ids["show/1/4"]):
        for response in (
            ann.viewer.get(f"/v1/catalog/episodes/{item}"),
            ann.viewer.play(item),
            ann.report(item, 10),
            ann.viewer.put(ann.path("watched", item)),
        ):
            assert error_of(response) == (404, "not_found")
    assert ann.viewer.put(ann.path("watched", world.ids["show"])).status_code == 204
    assert ann.viewer.patch(f"/v1/profiles/{ann.profile_id}", {"max_age": 6}).status_code == 200
    assert error_of(ann.viewer.play("show/1/3")) == (404, "not_found"), "its series is above the limit"


def test_a_child_finds_no_trace_of_a_season_above_its_age(ann, world):
    seasons = [{"number": 1, "episodes": EPISODES}, {"number": 3, "title": "To be announced"}]
    strict = {"number": 2, "title": "The Massacre", "age_rating": "US:TV-MA", "episodes": EPISODES}
    world.put_titles(SHOW | {"seasons": [*seasons, strict]})
    title = f"/v1/catalog/titles/{world.ids['show']}"

    def numbers():
        page, expanded = (ann.viewer.get(f"{title}{end}").json for end in ("/seasons", "?expand=seasons"))
        assert [s["id"] for s in page["items"]] == [s["id"] for s in expanded["seasons"]]
        return [season["number"] for season in page["items"]]

    assert numbers() == [1, 2, 3]
    assert ann.viewer.patch(f"/v1/profiles/{ann.profile_id}", {"max_age": 14}).status_code == 200
    assert numbers() == [1, 3]


@pytest.fixture
def abroad(app, monkeypatch):
    """Return a function that moves a watcher to a country."""
    settings = app.extensions["settings"].replace(country_header="X-Country")
    monkeypatch.setitem(app.extensions, "settings", settings)
    return lambda watcher, country: watcher.viewer.client.environ_base.update(HTTP_X_COUNTRY=country)


@pytest.mark.every_database
def test_the_ratings_of_the_country_and_of_the_episode_both_decide(ann, world, abroad):
    """For a kids' profile with a limit of 14, and of what it watched and began to play before it had one."""
    own: list[dict] = [{}, *({"age_rating": f"US:TV-{label}"} for label in ("14", "MA", "Y"))]
    episodes = [{"number": n, "title": f"Episode {n}", "runtime_s": 3000, **more} for n, more in enumerate(own, 1)]
    trailer = {"kind": "trailer", "title": "Trailer", "age_rating": "US:TV-MA"}
    rated = {"age_rating": "FR:16", "age_ratings": ["DE:12", "GB:PG", "CA:E"], "extras": [trailer]}
    world.put_titles(SHOW | rated | {"seasons": [{"number": 1, "episodes": episodes}]})
    [extra] = world.operator.get(f"/v1/catalog/titles/{world.ids['show']}").json["extras"]
    items = [*(world.ids[f"show/1/{n}"] for n in (1, 2, 3, 4)), extra["id"]]
    abroad(ann, "DE")
    for item in items[:4]:
        assert ann.report(item, 600, 3000).status_code == 200
    for item in (items[1], items[2], items[4]):
        assert ann.viewer.play(item).status_code == 201
    profile = f"/v1/profiles/{ann.profile_id}"
    assert ann.viewer.patch(profile, {"max_age": 14, "kids": True}).status_code == 200
    for country, ages in (
        ("DE", [12, 14, 17, 12]),
        ("GB", [8, 14, 17, 8]),
        ("FR", [16, 16, 17, 16]),
        ("CA", [None] * 4),
        ("", None),
    ):
        abroad(ann, country)
        shown = [item for item, age in zip(items, ages or [None] * 4, strict=False) if age is not None and age <= 14]
        pages = [i for i in items[:4] if ann.viewer.get(f"/v1/catalog/episodes/{i}").status_code == 200]
        states = ann.viewer.get(ann.path(f"state?ids={','.join(items)}")).json["items"]
        streams = {stream["item_id"] for stream in ann.viewer.get("/v1/playback").json["items"]}
        history = {world.ids[name] for name in ann.row("history")}
        assert pages == shown == [state["id"] for state in states if state["progress"]], country
        assert history == set(shown) and streams == {None} | ({items[1]} & set(shown)), country
        if ages:
            explained = [
                world.operator.post(
                    "/v1/admin/explain", {"account_id": ann.viewer.account_id, "item_id": item, "country": country}
                ).json
                for item in items[:4]
            ]
            assert [answer["facts"]["min_age"] for answer in explained] == ages, country
            failed = [{check["check"] for check in answer["checks"] if not check["passed"]} for answer in explained]
            assert [item for item, names in zip(items, failed, strict=False) if "maturity" not in names] == shown


def test_the_state_of_what_a_household_blocks_is_empty(ann, world):
    put_show(world, {})
    world.put_titles(FILM)
    ann.report("show/1/1", 600, 3000)
    ann.report("film", 600)
    items = [world.ids["show/1/1"], world.ids["film"]]
    path = ann.path(f"state?ids={','.join(items)}")
    for blocked, known in (
        ([], [True, True]),
        ([world.ids["show"]], [False, True]),
        ([world.ids["film"]], [True, False]),
    ):
        rules = {"blocked": {"titles": blocked, "genres": []}, "allowed_only": None, "viewing_hours": None}
        assert ann.viewer.put(f"/v1/profiles/{ann.profile_id}/restrictions", rules).status_code == 200
        states = ann.viewer.get(path).json["items"]
        assert [state["id"] for state in states] == items
        assert [state["progress"] is not None for state in states] == known


def test_marking_a_series_as_watched_leaves_what_is_still_to_come(ann, world, clock):
    put_show(world, {}, {}, starting(NOON + DAY))
    assert ann.viewer.put(ann.path("watched", world.ids["show"])).status_code == 204
    clock.at = NOON + DAY
    ann.viewer = ann.viewer.on_another_device()
    assert ann.row("next-up") == ["show/1/3"]


def test_the_season_is_the_default_of_its_episodes(ann, world):
    premium = world.put_plan("premium")
    put_show(world, {}, {"plans": ["standard"], "windows": [{}]}, windows=[{"countries": ["US"]}], plans=["premium"])
    assert [error_code(ann.viewer.play(f"show/1/{n}")) for n in (1, 2)] == ["not_in_plan", None]
    eve = world.household(plan=premium)
    assert [error_code(eve.play(f"show/1/{n}")) for n in (1, 2)] == ["not_available_in_country", "not_in_plan"]
    bob = world.household(plan=premium, country="US")
    assert [error_code(bob.play(f"show/1/{n}")) for n in (1, 2)] == [None, "not_in_plan"]


def test_the_texts_of_an_episode_come_in_the_readers_language(ann, world):
    texts = {"fr": {"title": "Le début"}, "fr-CA": {"synopsis": "Au Québec"}, "de": {"title": "Der Anfang"}}
    put_show(
        world,
        {
            "synopsis": "How it began",
            "localizations": texts,
            "external_ids": {"imdb": "tt1"},
            "tracks": [{"kind": "audio", "language": "fr"}],
            "age_rating": "DE:6",
        },
        {"localizations": texts},
    )
    path = f"/v1/catalog/episodes/{world.ids['show/1/1']}"
    shown = ann.viewer.get(f"{path}?locale=fr-CA").json
    assert (shown["title"], shown["synopsis"]) == ("Le début", "Au Québec")
    assert shown["age_rating"] == {"system": "DE", "label": "6", "min_age": 6}
    assert (shown["tracks"], shown["external_ids"]) == ([{"kind": "audio", "language": "fr"}], {"imdb": "tt1"})
    titles = f"/v1/catalog/titles/{world.ids['show']}"
    for listing in (f"{titles}/episodes?locale=de", f"{titles}?expand=seasons&locale=de"):
        body = ann.viewer.get(listing).json
        episode = body["items"][0] if "items" in body else body["seasons"][0]["episodes"][0]
        assert (episode["title"], episode["synopsis"]) == ("Der Anfang", "How it began")
    ann.watch("show/1/1")
    assert ann.viewer.patch(f"/v1/profiles/{ann.profile_id}", {"language": "fr"}).status_code == 200
    assert ann.viewer.get(path).json["title"] == "Le début"
    for row in ("history", "next-up"):
        assert ann.viewer.get(ann.path(row)).json["items"][0]["episode"]["title"] == "Le début", row
    home = {row["kind"]: row["items"] for row in ann.viewer.get("/v1/catalog/home").json["items"]}
    assert home["next_up"][0]["episode"]["title"] == "Le début"
