"""Hits of other kinds, the field by which a hit was found, and the filters of a search."""

import re
from datetime import UTC, datetime

import pytest

from streamsvc.models import SearchEntry
from streamsvc.operations.catalog.reading.filters import FilterShape
from streamsvc.operations.catalog.search import scanning
from tests.worlds.catalog_world import Catalog
from tests.worlds.plans import query_plan
from tests.worlds.scenes import set_scene

pytestmark = pytest.mark.every_database

ALL = "title,episode,collection,person"
TRACKS = [{"kind": "audio", "language": "fr-CA"}, {"kind": "subtitle", "language": "de"}]


def build_catalog(app):
    catalog = Catalog(app)
    episodes = [{"number": 1, "title": "Pilot"}, {"number": 2, "title": "Ozymandias"}]
    catalog.put(
        "Breaking Bad",
        kind="series",
        external_ids={"imdb": "tt0903747", "tmdb": "1396"},
        genres=["crime"],
        credits=[{"name": "Bryan Cranston", "role": "actor", "character": "Walter White"}],
        seasons=[{"number": 5, "episodes": episodes}],
    )
    catalog.put(
        "The Silence",
        original_title="Tystnaden",
        year=1963,
        runtime_s=5_700,
        genres=["drama", "war"],
        languages=["sv"],
        countries=["SE"],
        localizations={"de": {"title": "Das Schweigen"}},
        tracks=TRACKS,
        variants=[{"path": "1080/", "height": 1080}],
        media={"hls": "https://media.example.com/silence/index.m3u8"},
    )
    catalog.put("Silence", year=2016, genres=["drama"], runtime_s=9_660, popularity=9)
    body = {"title": "Silent cinema", "items": ["test:Silence"]}
    assert catalog.client.put("/v1/admin/collections/quiet", json=body).status_code == 200
    return catalog


@pytest.fixture
def catalog(app):
    return set_scene(app, build_catalog)


def found(caller, q, **query):
    """(kind, name, match_field) of each hit."""
    response = caller.get("/v1/catalog/search", q=q, **query)
    assert response.status_code == 200, response.json
    return [(hit["kind"], hit.get("name") or hit["title"], hit["match_field"]) for hit in response.json["items"]]


@pytest.mark.parametrize(
    ("typed", "title", "field"),
    [
        ("breaking", "Breaking Bad", "title"),
        ("ozymandias", "Breaking Bad", "episode"),
        ("walter white", "Breaking Bad", "character"),
        ("cranston", "Breaking Bad", "person"),
        ("tt0903747", "Breaking Bad", "external_id"),
        ("https://www.imdb.com/title/tt0903747/", "Breaking Bad", "external_id"),
        ("tmdb:1396", "Breaking Bad", "external_id"),
        ("tystnaden", "The Silence", "original_title"),
        ("schweigen", "The Silence", "alternative_title"),
        ("cransten", "Breaking Bad", "person"),
    ],
)
def test_a_hit_names_the_field_by_which_it_was_found(catalog, typed, title, field):
    assert found(catalog, typed)[0][1:] == (title, field)


def test_other_kinds_are_found_only_on_request(catalog):
    assert {kind for kind, *_ in found(catalog, "ozymandias")} == {"series"}
    assert found(catalog, "ozymandias", kinds="episode") == [("episode", "Ozymandias", "episode")]
    for number in ("s05e02", "s5e02", "5x02", "5x2"):
        assert found(catalog, f"breaking bad {number}", kinds="episode") == [("episode", "Ozymandias", "episode")]
    assert found(catalog, "bryan", kinds=ALL)[0] == ("person", "Bryan Cranston", "person")
    assert found(catalog, "silent", kinds=ALL) == [("collection", "Silent cinema", "collection")]
    episode = catalog.get("/v1/catalog/search", q="ozymandias", kinds=ALL).json["items"][0]
    assert (episode["series"]["title"], episode["season"], episode["number"]) == ("Breaking Bad", 5, 2)
    assert catalog.get("/v1/catalog/search", q="a", kinds="season").status_code == 422


def test_what_belongs_to_a_hidden_title_is_hidden(catalog):
    credits = [{"name": "Zoe Quill", "role": "actor", "character": "Vex"}]
    seasons = [{"number": 1, "episodes": [{"number": 1, "title": "Quagmire"}]}]
    catalog.put("Hidden", kind="series", windows=[], credits=credits, seasons=seasons)
    catalog.put("Grown", age_rating="US:R", credits=[{"name": "Zelda Rook", "role": "actor"}])
    catalog.client.put("/v1/admin/collections/secret", json={"title": "Quixotic", "items": ["test:Hidden"]})
    viewer, child = catalog.viewer(), catalog.viewer(max_age=12)
    for typed in ("quagmire", "quagmir", "zoe quill", "quixotic", "vex", "test:hidden"):
        assert len(found(catalog, typed, kinds=ALL)) > 0, typed
        response = viewer.get("/v1/catalog/search", q=typed, kinds=ALL, include_total="true").json
        assert (response["items"], response["total"]) == ([], 0), typed
        assert viewer.get("/v1/catalog/suggestions", q=typed).json["items"] == []
    assert found(viewer, "zelda", kinds="person") == [("person", "Zelda Rook", "person")]
    assert found(child, "zelda", kinds="person") == []


@pytest.mark.parametrize(
    ("filters", "titles"),
    [
        ({"genre": "war"}, ["The Silence"]),
        ({"genre": "war,drama"}, ["Silence", "The Silence"]),
        ({"genre__not": "war,crime"}, ["Silence"]),
        ({"year__gte": 2000}, ["Silence"]),
        ({"year__lte": 2000}, ["The Silence"]),
        ({"runtime__lte": 6000}, ["The Silence"]),
        ({"language": "sv"}, ["The Silence"]),
        ({"audio": "fr"}, ["The Silence"]),
        ({"subtitle": "de"}, ["The Silence"]),
        ({"subtitle": "fr"}, []),
        ({"height__gte": "1080"}, ["The Silence"]),
        ({"height__gte": "2160"}, []),
        ({"origin_country": "SE"}, ["The Silence"]),
        ({"kind": "series"}, []),
        ({"collection": "quiet"}, ["Silence"]),
        ({"collection": "quiet", "genre": "war"}, []),
    ],
    ids=str,
)
def test_filters_apply_within_a_search(catalog, filters, titles):
    response = catalog.get("/v1/catalog/search", q="silence", include_total="true", **filters)
    assert [item["title"] for item in response.json["items"]] == titles
    assert response.json["total"] == len(titles)


def test_the_filters_of_an_episode_and_a_person_are_those_of_their_titles(catalog):
    person = catalog.get("/v1/catalog/search", q="cranston", kinds="person").json["items"][0]["id"]
    assert found(catalog, "ozymandias", kinds="episode", genre="crime", person=person)
    assert found(catalog, "ozymandias", kinds="episode", genre="drama") == []
    assert found(catalog, "cranston", kinds="person", genre="crime")
    assert found(catalog, "cranston", kinds="person", genre="drama") == []


def test_an_unknown_genre_is_an_error(catalog):
    assert catalog.get("/v1/catalog/search", q="a", genre="drama,nonsense").status_code == 422


def test_pages_over_all_kinds_repeat_no_hit_and_reach_the_last(catalog):
    for number in range(8):
        episodes = [{"number": 1, "title": f"Storm {number}"}]
        person = {"name": f"Storm Rider {number}", "role": "actor"}
        seasons = [{"number": 1, "episodes": episodes}]
        catalog.put(f"Storm {number}", kind="series", credits=[person], seasons=seasons)
    whole = catalog.get("/v1/catalog/search", q="storm", kinds=ALL, limit=100, include_total="true").json
    pages = catalog.walk("/v1/catalog/search", q="storm", kinds=ALL, limit=5)
    paged = [item["id"] for page in pages for item in page]
    assert paged == [item["id"] for item in whole["items"]]
    assert len(paged) == len(set(paged)) == whole["total"] == 24


def test_a_search_tests_a_bounded_number_of_titles_and_goes_on_from_there(catalog, monkeypatch):
    monkeypatch.setattr(scanning, "MAX_RANKS", 4)
    for number in range(10):
        catalog.put(f"Tide {number}", popularity=20 - number, genres=["war" if number == 9 else "drama"])
    first = catalog.get("/v1/catalog/search", q="tide", genre="war", limit=2).json
    assert first["items"] == []
    paged = [
        item["title"] for page in catalog.walk("/v1/catalog/search", q="tide", genre="war", limit=2) for item in page
    ]
    assert paged == ["Tide 9"]


def test_a_renamed_episode_and_a_deleted_collection_are_no_longer_found(catalog):
    seasons = [{"number": 5, "episodes": [{"number": 2, "title": "Granite"}]}]
    catalog.put("Breaking Bad", kind="series", genres=["crime"], seasons=seasons)
    assert found(catalog, "ozymandias", kinds="episode") == found(catalog, "pilot", kinds="episode") == []
    assert found(catalog, "granite", kinds="episode")
    assert catalog.client.delete("/v1/admin/collections/quiet").status_code == 204
    assert found(catalog, "silent", kinds="collection") == []


@pytest.mark.parametrize("kind", scanning.ROW_SELECTS)
def test_hits_and_their_filters_are_read_by_key(catalog, kind, database):
    shape = FilterShape("listed", ("year_gte",), facets=(1, 2), excluded=1, person=True)
    names = ("facet_0_0", "facet_1_0", "facet_1_1", "excluded_0", "person", "year_gte", "max_age")
    values = dict.fromkeys(names, 1) | {"country": "DE", "plans": None, "now": datetime(2026, 1, 1, tzinfo=UTC)}
    pks = "[1, 2]" if database == "sqlite" else "1,2"
    with catalog.app.app_context():
        statement = scanning._rows_statement(kind, shape, database).statement
        plan = query_plan(statement, prefer_indexes=True, **values, pks=pks)
        on_postgresql = scanning.RANKS_ON_POSTGRESQL[SearchEntry, False]
        ranks = scanning.RANKS_ON_SQLITE[SearchEntry] if database == "sqlite" else on_postgresql
        expression = '"nstorm"*' if database == "sqlite" else "'nstorm':*"
        bounds = {"expression": expression, "after": 9, "lowest": 0, "limit": 5}
        plan_of_ranks = query_plan(ranks.statement, prefer_indexes=True, **bounds)
    assert not re.search(r"SCAN (titles|episodes|people|collections|title_\w+|collection_items)|Seq Scan", plan), plan
    assert re.search("VIRTUAL TABLE INDEX|ix_search_entries_fts|pk_search_entries", plan_of_ranks), plan_of_ranks


STRICTER = [("US:TV-PG", "US:TV-MA", {}), (None, "DE:18", {}), ("US:TV-MA", "DE:16", {"age_ratings": ["DE:6"]})]


@pytest.mark.parametrize(("series", "own", "more"), STRICTER)
def test_a_series_is_not_found_by_an_episode_that_is_rated_more_strictly(catalog, series, own, more):
    episodes = [{"number": 1, "title": "Overture"}, {"number": 2, "title": "Bloodbath", "age_rating": own}]
    rated = more if series is None else {"age_rating": series, **more}
    catalog.put("Opera House", kind="series", seasons=[{"number": 1, "episodes": episodes}], **rated)
    assert found(catalog, "overture") == [("series", "Opera House", "episode")]
    for typed in ("bloodbath", "bloodbaht"):
        assert found(catalog, typed) == []
        assert found(catalog, typed, kinds="title,episode") == [("episode", "Bloodbath", "episode")]
        assert catalog.get("/v1/catalog/suggestions", q=typed).json["items"] == []
