"""Catalogue coverage, and exports of the catalogue."""

import gzip
import json
from datetime import timedelta

import pytest

from streamsvc.operations.catalog.imports import local_files
from tests.catalog.test_import import counts, send
from tests.worlds.catalog_world import Catalog


@pytest.fixture
def catalog(app):
    return Catalog(app)


def complete_record(app):
    """Return a title without issues."""
    return {
        "age_rating": "US:PG",
        "languages": ["en"],
        "artwork": [{"role": "poster", "url": "https://img.example/a.jpg"}],
    }


def issues_by_title(catalog):
    issues = catalog.get("/v1/admin/coverage").json["issues"]
    return {issue["code"]: [item["title"] for item in issue["items"]] for issue in issues if issue["count"]}


def test_coverage_lists_the_issues_of_each_title(app, catalog):
    good, now = complete_record(app), app.extensions["clock"].at

    def window(days):
        return [{"ends_at": (now + timedelta(days=days)).isoformat()}]

    catalog.put("Whole", **good)
    catalog.put("Unrated", **{**good, "age_rating": None})
    catalog.put("Unrated in Britain", age_ratings=["GB:E"], **good)
    only_german = {**good, "age_rating": None, "age_ratings": ["DE:6"]}
    catalog.put("Rated where it is", windows=[{"countries": ["DE"]}], **only_german)
    catalog.put("Unrated in Austria", windows=[{"countries": ["DE", "AT"]}], **only_german)
    catalog.put("No picture", **{**good, "artwork": []})
    catalog.put("No language", **{**good, "languages": []})
    catalog.put("Nowhere", windows=[], **good)
    catalog.put("Over", windows=window(-1), **good)
    catalog.put("Ends soon", windows=window(13), **good)
    catalog.put("Ends later", windows=window(15), **good)
    catalog.put("Renewed", windows=window(3) + window(300), **good)
    catalog.put("Twin", external_id="a", year=2000, **good)
    catalog.put("TWIN!", external_id="b", year=2001, **good)
    catalog.put("Twin", external_id="c", year=2010, **good)
    assert issues_by_title(catalog) == {
        "no_rating": ["Unrated", "Unrated in Britain", "Unrated in Austria"],
        "no_artwork": ["No picture"],
        "no_language": ["No language"],
        "no_window": ["Nowhere", "Over"],
        "ending_soon": ["Ends soon"],
        "near_duplicate": ["Twin", "TWIN!"],
    }
    assert catalog.get("/v1/admin/coverage").json["total"] == 15
    assert catalog.client.delete("/v1/admin/titles/test:Unrated").status_code == 204
    assert catalog.get("/v1/admin/coverage").json["total"] == 14
    assert issues_by_title(catalog)["no_rating"] == ["Unrated in Britain", "Unrated in Austria"]


def test_the_titles_with_an_issue_are_paged(catalog):
    for number in range(7):
        catalog.put(f"Film {number}")
    pages = list(catalog.walk("/v1/admin/coverage/no_rating", limit=3))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert catalog.get("/v1/admin/coverage/no_rating", limit=1, include_total="true").json["total"] == 7
    assert catalog.get("/v1/admin/coverage/no_humour").status_code == 404


FILM = {
    "year": 1994, "runtime_s": 6600, "genres": ["crime"], "age_rating": "US:R", "age_ratings": ["BR:14", "DE:16"],
    "synopsis": "A cleaner.",
    "windows": [{"countries": ["DE"], "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-02-01T00:00:00Z"}],
    "localizations": {"de": {"title": "Leon der Profi"}}, "external_ids": {"imdb": "tt0110413"},
    "credits": [{"name": "Luc Besson", "role": "director"}, {"name": "Jean Reno", "role": "actor"}],
}  # fmt: skip


def test_the_exported_file_imported_again_changes_nothing(catalog):
    episodes = [{"number": 1, "title": "Pilot", "released_on": "2020-01-01"}]
    catalog.put("Léon", **FILM)
    catalog.put("Show", kind="series", seasons=[{"number": 1, "episodes": episodes}])
    catalog.put("Nowhere", windows=[], plans=[])
    exported = catalog.get("/v1/admin/catalog-exports/ndjson")
    assert exported.content_type == "application/x-ndjson"
    assert counts(send(catalog, exported.data)) == [0, 0, 3, 0]


def test_the_demo_file_is_exported_unchanged(catalog, tmp_path):
    sample = tmp_path / "sample.ndjson"
    with gzip.open("streamsvc/demo/catalog.ndjson.gz") as lines:
        sample.write_bytes(b"".join(next(lines) for _ in range(1_000)))
    with catalog.app.app_context():
        local_files.import_file(sample)
    lines = catalog.get("/v1/admin/catalog-exports/ndjson").data.splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(line) for line in sample.read_bytes().splitlines()]


def test_a_roku_feed_includes_the_windows_and_can_be_imported(catalog):
    title = catalog.put("Léon", **FILM)
    catalog.put("Show", kind="series", seasons=[{"number": 1, "episodes": [{"number": 2, "title": "Second"}]}])
    catalog.put("Nowhere", windows=[])
    feed = catalog.get("/v1/admin/catalog-exports/roku")
    film, show, episode = feed.json["assets"]
    assert film["content"]["playOptions"] == [
        {
            "license": "subscription",
            "playId": title,
            "availabilityStartTime": "2026-01-01T00:00:00Z",
            "availabilityEndTime": "2026-02-01T00:00:00Z",
            "availabilityInfo": {"country": ["DE"]},
        }
    ]
    assert film["advisoryRatings"] == [{"source": "MPAA", "value": "R"}, {"source": "FSK", "value": "16"}]
    assert film["titles"] == [{"value": "Léon", "languages": ["en"]}, {"value": "Leon der Profi", "languages": ["de"]}]
    assert episode["episodeInfo"] == {"seriesId": show["id"], "seasonNumber": 1, "episodeNumber": 2}
    catalog.client.delete("/v1/admin/titles/test:Léon")
    send(catalog, feed.data, format="roku")
    again = catalog.get("/v1/admin/titles/test:Léon").json
    assert (again["age_rating"], again["age_ratings"]) == ("US:R", ["DE:16"])
    assert {name: again[name] for name in ("windows", "year", "runtime_s", "credits")} == {
        name: FILM[name] for name in ("windows", "year", "runtime_s", "credits")
    }


def test_a_media_actions_feed_includes_regions_and_times(catalog):
    title = catalog.put("Léon", **FILM)
    catalog.put("Everywhere")
    catalog.put("In no plan", plans=[])
    feed = catalog.get("/v1/admin/catalog-exports/schema.org")
    film, everywhere = feed.json["dataFeedElement"]
    access = film["potentialAction"]["actionAccessibilityRequirement"][0]
    assert access["availabilityEnds"] == "2026-02-01T00:00:00Z"
    assert access["eligibleRegion"] == [{"@type": "Country", "name": "DE"}]
    assert everywhere["potentialAction"]["actionAccessibilityRequirement"][0]["eligibleRegion"] == "EARTH"
    assert film["contentRating"] == ["US R", "BR 14", "DE 16"]
    assert (film["@type"], film["duration"], film["@id"].endswith(title)) == ("Movie", "PT6600S", True)
    assert catalog.get("/v1/admin/catalog-exports/xml").status_code == 404
    assert catalog.viewer().get("/v1/admin/catalog-exports/ndjson").status_code == 401


@pytest.mark.parametrize(
    ("form", "items", "name"), [("roku", "assets", "titles"), ("schema.org", "dataFeedElement", "name")]
)
def test_feeds_have_no_adult_titles_unless_the_operator_says_so(catalog, form, items, name):
    episodes = [{"number": 1, "title": "Tame"}, {"number": 2, "title": "Wild", "age_rating": "DE:18"}]
    seasons = [{"number": 1, "episodes": episodes}, {"number": 2, "age_rating": "GB:18", "episodes": episodes[:1]}]
    catalog.put("Series", kind="series", age_rating="DE:16", seasons=seasons)
    catalog.put("For all", age_rating="US:R", age_ratings=["DE:16", "GB:15"])
    catalog.put("Unrated")
    hidden = {
        "Rated": {"age_rating": "US:NC-17"},
        "Rated in Germany": {"age_rating": "US:R", "age_ratings": ["DE:18"]},
        "Porn": {"adult": True},
        "Rated low porn": {"adult": True, "age_rating": "DE:0"},
    }
    for title, members in hidden.items():
        catalog.put(title, **members)

    def names():
        elements = catalog.get(f"/v1/admin/catalog-exports/{form}").json[items]
        return [element[name] if isinstance(element[name], str) else element[name][0]["value"] for element in elements]

    parts = ["Tame"] if form == "roku" else []
    assert names() == ["Series", *parts, "For all", "Unrated"]
    former = catalog.app.extensions["settings"]
    catalog.app.extensions["settings"] = former.replace(adult_in_feeds=True)
    parts = ["Tame", "Wild", "Tame"] if form == "roku" else []
    assert names() == ["Series", *parts, "For all", "Unrated", *hidden]
    catalog.app.extensions["settings"] = former
    assert len(catalog.get("/v1/admin/catalog-exports/ndjson").text.splitlines()) == 7
