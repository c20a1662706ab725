"""Channels and programmes are found by search and suggestions, by whoever sees them in lists."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from streamsvc.models import ProgrammeEntry, SearchEntry
from streamsvc.operations.catalog.channels import guide
from streamsvc.operations.catalog.search import live_hits, scanning
from streamsvc.operations.catalog.titles import bulk
from streamsvc.rules.catalog.programmes import Airing, ProgrammeRecord, ProgrammeText, build_schedule
from streamsvc.rules.catalog.ranks import channel_popularity, programme_rank
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.worlds.catalog_world import Visitor, base_vary
from tests.worlds.channel_steps import LiveWorld
from tests.worlds.plans import query_plan
from tests.worlds.playback_steps import FILM
from tests.worlds.sessions_steps import run_jobs

pytestmark = pytest.mark.every_database
LIVE = "channel,programme"


@pytest.fixture
def world(app):
    return LiveWorld(app)


@pytest.fixture
def public(app):
    """Make the catalogue public until the end of the test."""
    former = app.extensions["settings"]
    app.extensions["settings"] = former.replace(catalog="public")
    yield
    app.extensions["settings"] = former


def put_schedule(world, *airings, key="news"):
    """Put programmes (title, start in minutes from now, end, members of the record)."""
    now = world.clock()
    schedule = []
    for title, start, end, *more in airings:
        record = ProgrammeRecord(title, **(more[0] if more else {}))
        schedule.append(Airing(now + timedelta(minutes=start), now + timedelta(minutes=end), record))
    with world.app.app_context():
        assert guide.replace_programmes(key, build_schedule(schedule)) is not None
        db.session.commit()


def found(caller, q, kinds=LIVE, query=""):
    """Return (kind, name, match) of each hit; the total must be theirs."""
    response = caller.get(f"/v1/catalog/search?q={q}&kinds={kinds}&include_total=true&limit=100{query}")
    assert response.status_code == 200, response.json
    items = response.json["items"]
    assert response.json["total"] == len(items)
    return [(hit["kind"], hit.get("name") or hit["title"], hit["match"]) for hit in items]


def suggested(caller, q, query="&kinds=title,channel"):
    response = caller.get(f"/v1/catalog/suggestions?q={q}{query}")
    assert response.status_code == 200, response.json
    return [(item["kind"], item["title"]) for item in response.json["items"]]


def test_channels_are_found_by_name_number_and_id_in_their_order(world):
    world.put_titles({**FILM, "title": "News"})
    world.put_channel(number="7.2")
    world.put_channel("rtp", name="RTP Notícias", number="3", languages=["pt"])
    world.put_channel("two", name="News Two", number="2")
    world.put_channel("none", name="News None", number=None)
    viewer = world.household()
    ordered = ["News Two", "News One", "News None"]
    assert [name for _, name, _ in found(viewer, "news", "channel")] == ordered
    assert found(viewer, "news", "title,channel")[0] == ("movie", "News", "exact")
    assert found(viewer, "news one", "channel") == [("channel", "News One", "exact")]
    assert found(viewer, "noticias") == [("channel", "RTP Notícias", "words")]
    assert found(viewer, "nws two")[0] == ("channel", "News Two", "fuzzy")
    assert found(viewer, "news 7.2")[0] == ("channel", "News One", "words")
    [hit] = viewer.get("/v1/catalog/search?q=news+one&kinds=channel").json["items"]
    assert hit == {
        "kind": "channel", "id": world.ids["news"], "name": "News One", "number": "7.2", "artwork": [],
        "match": "exact", "match_field": "channel",
    }  # fmt: skip
    assert found(viewer, "news", "title") == [("movie", "News", "exact")]
    assert [item["kind"] for item in viewer.get("/v1/catalog/search?q=news").json["items"]] == ["movie"]
    assert suggested(viewer, "new", "") == [("movie", "News")]
    assert suggested(viewer, "new") == [("movie", "News"), *(("channel", name) for name in ordered)]
    assert viewer.get("/v1/catalog/suggestions?q=new&kinds=programme").status_code == 422
    pages, cursor = [], ""
    while cursor is not None:
        page = viewer.get(f"/v1/catalog/search?q=news&kinds=title,channel&limit=1{cursor and f'&cursor={cursor}'}").json
        pages += [hit.get("name") or hit["title"] for hit in page["items"]]
        cursor = page["next_cursor"]
    assert pages == ["News", *ordered]
    world.put_channel("two", name="Sport Two", number="2")
    assert world.operator.delete("/v1/admin/channels/none").status_code == 204
    assert [name for _, name, _ in found(viewer, "news", "channel")] == ["News One"]
    assert found(viewer, "sport", "channel") == [("channel", "Sport Two", "prefix")]
    with world.app.app_context():
        assert db.session.query(SearchEntry).count() == 3, "the index has forgotten the removed channel"


def test_programmes_are_found_while_they_are_on_or_to_come_each_broadcast_but_once(world):
    world.put_channel(catchup_hours=72)
    world.put_channel("two", name="Two", number="2")
    put_schedule(
        world, ("Match", -90, -60), ("Weather", -10, 5), ("Match", 60, 90, {"subtitle": "Bayern against Real"}),
        ("Weather", 120, 125), ("Weather Extra", 125, 130, {"localizations": {"de": ProgrammeText("Wetter")}}),
    )  # fmt: skip
    put_schedule(world, ("Weather", -5, 5), key="two")
    viewer = world.household()

    def broadcasts(q):
        items = viewer.get(f"/v1/catalog/search?q={q}&kinds=programme").json["items"]
        minute = timedelta(minutes=1)
        starts = [(world.clock.at.fromisoformat(item["starts_at"]) - world.clock()) / minute for item in items]
        return [(item["title"], item["channel"]["name"], start) for item, start in zip(items, starts, strict=True)]

    assert broadcasts("weather") == [
        ("Weather", "News One", -10), ("Weather", "Two", -5), ("Weather Extra", "News One", 125)
    ]  # fmt: skip
    assert broadcasts("match") == [("Match", "News One", 60)]
    assert broadcasts("bayern real") == [("Match", "News One", 60)]
    assert broadcasts("wetter") == [("Weather Extra", "News One", 125)]
    assert found(viewer, "news", "channel,programme") == [("channel", "News One", "prefix")]
    world.clock.advance(minutes=5)
    assert broadcasts("weather") == [("Weather", "News One", 115), ("Weather Extra", "News One", 120)]
    put_schedule(world, ("Weather", -5, 20), ("Film", 20, 300))
    assert broadcasts("weather") == [("Weather", "News One", -5)]
    assert broadcasts("match") == [], "the guide has another programme by now"
    world.clock.advance(days=5)
    with world.app.app_context():
        guide.purge_old_programmes({}, world.clock())
        assert db.session.query(ProgrammeEntry).count() == 0
    assert broadcasts("weather") == []


def test_whoever_does_not_see_a_channel_or_a_programme_does_not_find_it(app, world, public):
    world.put_titles({**FILM, "external_id": "imdb:tt0000042", "title": "Saw", "tags": ["gore"], "genres": ["horror"]})
    programme = ("Quagmire", -10, 20, {"age_rating": "DE:16"}), ("Quorum", 20, 30, {"imdb_id": "tt0000042"})
    channels = {
        "news": {"genres": ["news"]}, "adult": {"age_rating": "DE:18"}, "unrated": {"age_rating": None},
        "american": {"windows": [{"countries": ["US"]}]}, "gold": {"plans": ["gold"]}, "none": {"plans": []},
        "later": {"windows": [{"starts_at": "2027-01-01T00:00:00Z"}]},
    }  # fmt: skip
    for name, members in channels.items():
        world.put_channel(name, name=f"Quartz {name}", **members)
        put_schedule(world, *programme, key=name)
    subscriber, guest, child, ruled = (
        world.household(world.put_plan()), world.household(), world.household(), world.household()
    )  # fmt: skip
    assert child.patch(f"/v1/profiles/{child.profile_id}", {"max_age": 12}).status_code == 200
    rules = {"blocked": {"tags": ["gore"], "titles": [world.ids["adult"]]}}
    assert ruled.put(f"/v1/profiles/{ruled.profile_id}/restrictions", rules).status_code == 200
    german, american, nowhere = Visitor(app, "DE"), Visitor(app, "US"), Visitor(app)
    seen = {
        world.operator: (set(channels), set(channels), set(channels)),
        subscriber: ({"news", "adult", "unrated"},) * 3,
        guest: ({"news", "adult", "unrated", "gold"},) * 3,
        child: ({"news", "gold"}, set(), set()),
        ruled: ({"news", "unrated", "gold"}, {"news", "unrated", "gold"}, set()),
        german: ({"news", "unrated", "gold"},) * 3,
        american: ({"news", "unrated", "gold", "american"},) * 3,
        nowhere: ({"news", "unrated", "gold"},) * 3,
    }
    listed = {}
    for number, (caller, expected) in enumerate(seen.items()):
        items = caller.get("/v1/catalog/channels").json["items"]
        listed[caller] = {item["name"].removeprefix("Quartz ") for item in items}
        country = f"&country={caller.country}" if isinstance(caller, Visitor) and caller.country else ""
        ask = caller.client if isinstance(caller, Visitor) else caller

        def hits(q, kinds, ask=ask, country=country):
            url = f"/v1/catalog/search?q={q}&kinds={kinds}&include_total=true{country}"
            response = ask.get(url)
            items = response.json["items"]
            assert response.json["total"] == len(items)
            return {(hit.get("channel") or hit)["name"].removeprefix("Quartz ") for hit in items}

        assert hits("quartz", "channel") == hits("quarz", "channel") == listed[caller] == expected[0], number
        assert hits("quagmire", "programme") == expected[1], number
        assert hits("quorum", "programme") == expected[2], number
        items = ask.get(f"/v1/catalog/suggestions?q=quart&kinds=channel&limit=50{country}").json["items"]
        assert {item["title"].removeprefix("Quartz ") for item in items} == expected[0], number
    assert error_code(german.client.get("/v1/catalog/search?q=a&kinds=channels")) == "invalid"


def error_code(response):
    return response.json["code"]


def test_filters_of_channels_apply_and_those_of_titles_find_none(world):
    world.put_channel(genres=["news"], languages=["en-GB"], countries=["GB"])
    world.put_channel("sport", name="News Sport", genres=["sport"], age_rating="DE:12")
    put_schedule(
        world,
        ("Newsreel", 0, 5, {"genres": ["sport"]}),
        ("News at night", 5, 9, {"genres": ["x"], "age_rating": "DE:16"}),
    )
    viewer = world.household()
    for query, names in {
        "": ["News One", "News Sport", "News at night", "Newsreel"],
        "&genre=news": ["News One"],
        "&genre=news,sport": ["News One", "News Sport", "Newsreel"],
        "&genre.not=sport": ["News One", "News at night"],
        "&language=en": ["News One", "News at night", "Newsreel"],
        "&origin_country=GB": ["News One", "News at night", "Newsreel"],
        "&age.lte=6": ["News One", "Newsreel"],
        "&age.lte=16": ["News One", "News Sport", "News at night", "Newsreel"],
        "&kind=movie": [],
        "&year.gte=1990": [],
        "&audio=en": [],
    }.items():
        assert sorted(name for _, name, _ in found(viewer, "news", query=query)) == names, query


def test_responses_follow_the_clock_and_visitors_may_keep_theirs(app, world, public):
    world.put_channel(windows=[{"ends_at": (world.clock() + timedelta(minutes=5)).isoformat()}])
    put_schedule(world, ("Newsreel", 0, 2))
    path, viewer, client = f"/v1/catalog/search?q=news&kinds={LIVE}", world.household(), app.test_client()
    first = viewer.get(path)
    assert (len(first.json["items"]), first.headers["Cache-Control"]) == (2, "private, no-cache")
    assert viewer.call("GET", path, If_None_Match=first.headers["ETag"]).status_code == 304
    visitor = client.get(path)
    assert (visitor.headers["Cache-Control"], base_vary(visitor)) == (
        "public, max-age=60, s-maxage=60", "Authorization, Cookie"
    )  # fmt: skip
    assert visitor.json == first.json
    world.clock.advance(minutes=2)
    assert len(viewer.call("GET", path, If_None_Match=first.headers["ETag"]).json["items"]) == 1
    world.clock.advance(minutes=3)
    assert viewer.get(path).json["items"] == client.get(path).json["items"] == []


def test_what_an_older_release_did_not_index_is_found_after_its_jobs_and_the_next_guide(app, world):
    world.put_channel()
    put_schedule(world, ("Newsreel", 0, 2))
    with app.app_context():
        for model in (SearchEntry, ProgrammeEntry):
            db.session.execute(sa.delete(model))
        db.session.commit()
    viewer = world.household()
    assert found(viewer, "news") == []
    with app.app_context():
        jobs.enqueue_job("catalog_reindex", {"after": 0}, world.clock(), dedupe="test")
        db.session.commit()
    run_jobs(app)
    put_schedule(world, ("Newsreel", 0, 2))
    assert [kind for kind, *_ in found(viewer, "news")] == ["channel", "programme"]


def test_programmes_are_read_by_their_index(world, database):
    world.put_channel()
    put_schedule(world, *((f"Programme {number}", number, number + 1) for number in range(300)))
    with world.app.app_context():
        bulk.analyze_tables()  # of a table without rows every index costs the same
        db.session.commit()
        statement = live_hits.NEXT_BROADCASTS.where(ProgrammeEntry.rank == 1)
        now = world.clock()
        plan = query_plan(statement, prefer_indexes=True, now=now, first=9)
        assert not re.search(r"SCAN|Seq Scan", plan), plan
        on_postgresql = scanning.RANKS_ON_POSTGRESQL[ProgrammeEntry, False]
        ranks = scanning.RANKS_ON_SQLITE[ProgrammeEntry] if database == "sqlite" else on_postgresql
        expression = '"nstorm"*' if database == "sqlite" else "'nstorm':*"
        plan = query_plan(ranks.statement, prefer_indexes=True, expression=expression, after=9, lowest=0, limit=5)
    assert re.search("VIRTUAL TABLE INDEX|ix_programme_entries_fts|pk_programme_entries", plan), plan


@pytest.mark.one_database
def test_ranks_order_channels_by_number_and_programmes_by_start(world):
    assert channel_popularity(1_000) > channel_popularity(2_001) > channel_popularity(99_999_999) > 0
    assert channel_popularity(10**9) == 0
    now = world.clock()
    ranks = [programme_rank(pk, now + timedelta(seconds=s)) for s in (-1, 0, 1) for pk in (2**26 - 1, 1)]
    assert ranks == sorted(ranks, reverse=True) and len(set(ranks)) == 6
    assert programme_rank(1, now.replace(year=2999)) > 0 and programme_rank(1, now.replace(year=1970)) < 2**63
