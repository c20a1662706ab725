"""Files of titles: what is good lands, what is not is told, the same file twice changes nothing."""

import csv
import gzip
import io
import json
import random

import pytest
import sqlalchemy as sa

from streamsvc.operations.catalog.imports import importing, imports
from streamsvc.operations.maintenance import job_handlers
from streamsvc.storage.database import db
from streamsvc.worker import jobs
from tests.worlds.catalog_world import Catalog

assert job_handlers


@pytest.fixture
def catalog(app):
    return Catalog(app)


def line(number, **more):
    return {"external_id": f"x:{number}", "kind": "movie", "title": f"Film {number}", **more}


def ndjson(*records):
    return "\n".join(json.dumps(record) for record in records).encode()


def send(catalog, body, content_type="application/x-ndjson", **query):
    """Post a file, let the worker do its work, and see what became of it."""
    path = "/v1/admin/imports?" + "&".join(f"{name}={value}" for name, value in query.items())
    answer = catalog.client.post(path, data=body, content_type=content_type)
    assert (answer.status_code, answer.json["status"]) == (202, "queued"), answer.json
    with catalog.app.app_context():
        jobs.run_due_jobs(catalog.app.extensions["clock"]())
    return catalog.get(f"/v1/admin/imports/{answer.json['id']}").json


def counts(made):
    return [made[name] for name in ("added", "changed", "unchanged", "rejected")]


def rejections(catalog, made):
    items = catalog.get(f"/v1/admin/imports/{made['id']}/rejections", limit=100).json["items"]
    return [(item["line"], item["field"], item["code"]) for item in items]


def test_the_same_file_twice_changes_nothing_and_ids_never_change(catalog):
    file = ndjson(*(line(number, genres=["drama"]) for number in range(600)))
    assert counts(send(catalog, file)) == [600, 0, 0, 0]
    before = catalog.get("/v1/catalog/titles", limit=100)
    assert counts(send(catalog, file)) == [0, 0, 600, 0]
    after = catalog.get("/v1/catalog/titles", limit=100)
    assert before.data == after.data
    assert before.headers["ETag"] == after.headers["ETag"]
    assert pieces_of_the_index(catalog.app) == 1


def pieces_of_the_index(app):
    """Into how many places a search looks."""
    with app.app_context():
        if db.engine.dialect.name == "postgresql":
            return 1
        return db.session.scalar(sa.text("SELECT count(DISTINCT segid) FROM search_fts_idx"))


@pytest.mark.parametrize(
    ("done", "took_s", "fitting"), [(250, 0.1, 500), (1000, 0.1, 1000), (1000, 3, 200), (60, 10, 50), (50, 0, 100)]
)
def test_a_transaction_has_as_many_titles_as_fit_its_time(done, took_s, fitting):
    assert importing.next_batch_size(done, took_s) == fitting


def test_a_row_changed_changes_that_row(catalog):
    send(catalog, ndjson(line(1), line(2, genres=["drama"], credits=[{"name": "Ann", "role": "actor"}])))
    ids = {item["title"]: item["id"] for item in catalog.get("/v1/catalog/titles").json["items"]}
    made = send(catalog, ndjson(line(1), line(2, title="Renamed", genres=["comedy"])))
    assert counts(made) == [0, 1, 1, 0]
    shown = catalog.get(f"/v1/catalog/titles/{ids['Film 2']}").json
    assert (shown["title"], shown["genres"], shown["credits"]) == ("Renamed", ["comedy"], [])
    assert catalog.titles(genre="comedy") == ["Renamed"]


def test_every_rejected_row_is_told_and_the_others_land(catalog):
    file = b"\n".join(
        [
            ndjson(line(1)),
            b"not json",
            ndjson(line(2, year="1994")),
            b"",
            ndjson({"external_id": "x:3", "kind": "movie"}),
            ndjson(line(4, age_rating="US:WHAT", countries=["QQ"])),
            b'{"external_id": "x:5", "title": "\xff\xfe"}',
            b'{"external_id": "x:6", "kind": "movie", "title": "' + b"a" * (1 << 20) + b'"}',
            ndjson(line(7, genres=[str(n) for n in range(10_000)])),
            ndjson(line(8, windows=[{"starts_at": "0000-01-01T00:00:00Z"}])),
            ndjson(line(9, title="=HYPERLINK(1)")),
        ]
    )
    made = send(catalog, file)
    assert counts(made) == [2, 0, 0, 8]
    assert rejections(catalog, made) == [
        (2, "", "malformed"),
        (3, "year", "wrong_type"),
        (5, "title", "missing"),
        (6, "age_rating", "unknown_rating"),
        (6, "countries", "unknown_country"),
        (7, "", "malformed"),
        (8, "", "too_long"),
        (9, "genres", "out_of_range"),
        (10, "windows[0].starts_at", "invalid"),
    ]
    assert catalog.titles(sort="title") == ["Film 1", "=HYPERLINK(1)"]
    first = catalog.get(f"/v1/admin/imports/{made['id']}/rejections", limit=2, include_total="true").json
    assert (len(first["items"]), first["total"]) == (2, 9)
    assert first["items"][1]["external_id"] == "x:2"


def test_a_dry_run_tells_and_changes_nothing(catalog):
    send(catalog, ndjson(line(1)))
    assert counts(send(catalog, ndjson(line(1, year=1999), line(2)), dry_run="true")) == [1, 1, 0, 0]
    assert catalog.titles() == ["Film 1"]


def test_a_packed_file_is_unpacked_and_a_broken_one_told(catalog):
    file = gzip.compress(ndjson(*(line(number, synopsis=random.randbytes(200).hex()) for number in range(300))))
    broken = send(catalog, file[: len(file) // 2])
    assert (broken["status"], broken["error"][:16]) == ("failed", "The file cannot ")
    assert counts(send(catalog, file))[3] == 0
    assert catalog.get("/v1/catalog/titles", include_total="true").json["total"] == 300


def test_an_interrupted_import_goes_on_where_it_stopped(catalog, monkeypatch):
    monkeypatch.setattr(imports, "MAX_RUN_TIME", imports.MAX_RUN_TIME * 0)  # time is up after each batch
    made = send(catalog, ndjson(*(line(number) for number in range(900))))
    assert (made["status"], made["lines_done"], counts(made)) == ("done", 900, [900, 0, 0, 0])


def test_the_later_line_of_one_title_has_the_last_word(catalog):
    send(catalog, ndjson(line(1), line(1, title="Second"), line(1, title="Third")))
    assert catalog.titles() == ["Third"]


def test_a_full_sync_takes_out_what_is_missing_and_a_return_has_its_old_id(catalog):
    everything = [line(number) for number in range(20)]
    send(catalog, ndjson(*everything))
    gone = catalog.get("/v1/catalog/search", q="film 19").json["items"][0]["id"]
    made = send(catalog, ndjson(*everything[:19]), remove_missing="true")
    assert (made["status"], made["removed"]) == ("done", 1)
    assert catalog.get(f"/v1/catalog/titles/{gone}").status_code == 404
    assert "Film 19" not in catalog.found("film 19")
    send(catalog, ndjson(*everything))
    assert catalog.get("/v1/catalog/search", q="film 19").json["items"][0]["id"] == gone


def test_a_full_sync_that_would_take_out_too_much_takes_out_nothing(catalog):
    send(catalog, ndjson(*(line(number) for number in range(20))))
    made = send(catalog, ndjson(line(1)), remove_missing="true")
    assert (made["status"], made["removed"]) == ("failed", 0)
    assert "19 of 20" in made["error"]
    made = send(catalog, ndjson(line(1)) + b"\nbroken", remove_missing="true", most_removals_percent=100)
    assert (made["status"], made["removed"]) == ("failed", 0)
    assert len(catalog.titles()) == 20
    assert send(catalog, ndjson(line(1)), remove_missing="true", most_removals_percent=100)["removed"] == 19


def test_a_table_lands_and_keeps_what_it_does_not_name(catalog):
    catalog.put("Film", external_id="x:1", windows=[{"countries": ["DE"]}], genres=["drama"])
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["external_id", "kind", "title", "year", "genres", "actor", "age_rating"])
    rows.writerow(["x:1", "", "Film, the", "1999", "", "Ann|Ben", "US:R"])
    rows.writerow(["x:2", "movie", '=cmd|"/c calc"!A1', "", "comedy|war", "", ""])
    rows.writerow(["x:3", "movie", "Bad year", "soon", "", "", ""])
    rows.writerow(["x:4", "movie"])
    made = send(catalog, b"\xef\xbb\xbf" + table.getvalue().encode() + b"x:5,movie,\xff,,,,\n", format="csv")
    assert counts(made) == [1, 1, 0, 3]
    assert rejections(catalog, made) == [(4, "year", "wrong_type"), (5, "", "malformed"), (6, "", "malformed")]
    kept = catalog.get("/v1/admin/titles/x:1").json
    assert (kept["title"], kept["year"], kept["genres"]) == ("Film, the", 1999, ["drama"])
    assert kept["windows"] == [{"countries": ["DE"]}]
    assert kept["credits"] == [{"name": "Ann", "role": "actor"}, {"name": "Ben", "role": "actor"}]


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=utf-8"])
def test_a_body_that_calls_itself_csv_is_read_as_a_table(catalog, content_type):
    made = send(catalog, b"external_id,kind,title\nx:1,movie,Film\n", content_type=content_type)
    assert (made["format"], counts(made)) == ("csv", [1, 0, 0, 0])
    assert send(catalog, ndjson(line(2)), content_type="text/csv", format="ndjson")["added"] == 1


def test_a_body_that_calls_itself_something_else_is_refused(catalog):
    def status(content_type):
        sent = catalog.client.post("/v1/admin/imports", data=ndjson(line(1)), content_type=content_type)
        return sent.status_code

    assert (status("application/pdf"), status("multipart/form-data; boundary=x")) == (415, 415)
    assert (status("application/jsonl"), status(None)) == (202, 202)


def test_a_table_with_a_column_nobody_knows_is_refused_whole(catalog):
    made = send(catalog, b"external_id,kind,title,director_of_photography\nx:1,movie,A,B\n", format="csv")
    assert rejections(catalog, made) == [(1, "", "unknown_field")]
    assert catalog.titles() == []


def test_imdb_files_land(catalog):
    header = "tconst titleType primaryTitle originalTitle isAdult startYear endYear runtimeMinutes genres".split()
    rows = [
        ["tt1", "movie", 'The "Quoted" Film', "Le film", "0", "1994", r"\N", "142", "Drama,Crime"],
        ["tt2", "tvSeries", "A Series", "A Series", "0", "2001", "2005", r"\N", r"\N"],
        ["tt3", "tvEpisode", "An Episode", "An Episode", "0", "2001", r"\N", "40", r"\N"],
        ["tt4", "movie", "Odd", "Odd", "0", "1999", r"\N", "long", r"\N"],
    ]
    made = send(catalog, "\n".join("\t".join(row) for row in [header, *rows]).encode(), format="imdb")
    assert counts(made) == [2, 0, 0, 2]
    assert rejections(catalog, made) == [(4, "titleType", "not_taken"), (5, "runtimeMinutes", "wrong_type")]
    kept = catalog.get("/v1/admin/titles/imdb:tt1").json
    assert (kept["title"], kept["original_title"], kept["runtime_s"]) == ('The "Quoted" Film', "Le film", 8520)
    assert kept["genres"] == ["drama", "crime"]


def test_a_roku_feed_lands(catalog):
    def asset(name, kind, **more):
        return {"id": name, "type": kind, "titles": [{"value": name.title(), "languages": ["en"]}], **more}

    window = {"availabilityStartTime": "2025-01-01T00:00:00Z", "availabilityInfo": {"country": ["us"]}}
    feed = {
        "version": "1",
        "defaultLanguage": "en",
        "assets": [
            asset("film", "movie", releaseDate="1994-10-14", durationInSeconds=8520, content={"playOptions": [window]},
                  advisoryRatings=[{"source": "MPAA", "value": "R"}], credits=[{"name": "A.", "role": "screenwriter"}]),
            asset("show", "series"),
            asset("pilot", "episode", episodeInfo={"seriesId": "show", "seasonNumber": 1, "episodeNumber": 1}),
            asset("other", "live"),
            {"id": "broken", "type": "movie", "titles": 7},
        ],
    }  # fmt: skip
    made = send(catalog, json.dumps(feed).encode(), format="roku")
    assert counts(made) == [2, 0, 0, 2]
    film = catalog.get("/v1/admin/titles/film").json
    assert (film["year"], film["age_rating"], film["credits"][0]["role"]) == (1994, "US:R", "writer")
    assert film["windows"] == [{"countries": ["US"], "starts_at": "2025-01-01T00:00:00Z"}]
    assert catalog.get("/v1/admin/titles/show").json["seasons"][0]["episodes"][0]["title"] == "Pilot"


@pytest.mark.parametrize("form", ["ndjson", "csv", "imdb", "roku"])
def test_noise_is_told_and_breaks_nothing(catalog, form):
    noise = random.Random(7)
    for _ in range(5):
        made = send(catalog, noise.randbytes(3_000), format=form)
        assert made["status"] == "done"
    assert catalog.titles() == []


def test_an_empty_body_and_an_unknown_format_are_refused(catalog):
    assert catalog.client.post("/v1/admin/imports", data=b"").status_code == 422
    assert catalog.client.post("/v1/admin/imports?format=xml", data=b"x").status_code == 422
    assert catalog.viewer().client.post("/v1/admin/imports", data=b"x").status_code == 401
    assert catalog.get("/v1/admin/imports/imp_none").status_code == 404


def test_putting_a_title_tells_each_field_that_is_wrong(catalog):
    answer = catalog.client.put(
        "/v1/admin/titles/x:1", json={"kind": "movie", "title": "A", "age_rating": "R", "languages": ["?"]}
    )
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {"age_rating", "languages"}
    for given in ({"external_id": "x:2", "kind": "movie", "title": "A"}, [], None):
        assert catalog.client.put("/v1/admin/titles/x:1", json=given).status_code in (400, 422)
    lone = rb'{"kind": "movie", "title": "\ud800"}'
    answer = catalog.client.put("/v1/admin/titles/x:1", data=lone, content_type="application/json")
    assert answer.status_code == 400


def test_a_title_taken_out_is_gone_and_put_again_has_its_old_id(catalog):
    title = catalog.put("Film", external_id="x:1")
    assert catalog.client.delete("/v1/admin/titles/x:1").status_code == 204
    assert catalog.titles() == catalog.found("film") == []
    assert catalog.get(f"/v1/catalog/titles/{title}").status_code == 404
    assert catalog.client.delete("/v1/admin/titles/x:1").status_code == 404
    assert catalog.put("Film", external_id="x:1") == title
    assert catalog.titles() == catalog.found("film") == ["Film"]
